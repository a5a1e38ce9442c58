"""From the files of runs to pictures and pages, without jax."""
