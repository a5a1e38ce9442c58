"""The command robustjax: its verbs, and a shell's completion of them."""
