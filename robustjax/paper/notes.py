"""Where the published numbers contradict themselves, are damaged or left open."""

from collections.abc import Mapping

NOTES: Mapping[str, str] = {
  # Where the paper contradicts itself.
  "r638_clean": (
    "ResNet-638's clean accuracy is 67.2 in Table 7 and 68.7 in section 5, which adds"
    " that this is 6.1 points above ResNet-152. Table 7's ResNet-152 has 62.1, and"
    " neither number is 6.1 points above that."
  ),
  "more_clean": (
    "80 % and 60 % clean images leave 20.3 and 15.3 % right against PGD-2000, and 100 %"
    " leave 20.9 %, though section 4.1 says that removing a portion of them can improve"
    " robustness significantly."
  ),
  "table5_labels": (
    'Table 5 labels the MBN rows "100% adv + 0% clean"; their numbers are those of the'
    ' "100% adv + 100% clean" rows of Tables 2, 4 and 7, which is what we call them.'
  ),
  "batch_8196": 'Table 7 prints a batch size of 8196; Table 6 and the text say 8192.',
  "table7_labels": (
    'Table 7, as we have it, labels this row "100% adv + 100% clean", as the row'
    " above it must be. It is 100% adv + 0% clean: Tables 4 and 5 have its numbers, and"
    " its * row follows."
  ),
  "table1_caption": (
    "Table 1's caption names MBN_clean twice; for adversarial images it means MBN_adv."
  ),
  # What is damaged or left open.
  "table1_lost": (
    "The lower half of Table 1 is lost after its first row. Section 4.2 says what the"
    " rows compare; the numbers are those of the same runs in Table 2."
  ),
  "table3_order": (
    "Table 3's merged cells are damaged. That each row changes one more parameter, in"
    " the order of appendix A's list, is our reading: the list and the heights of the"
    " merged cells agree with it, and so does Table 7 for the last two rows."
  ),
  "table3_lost": (
    "The PGD-2000 accuracy of this row of Table 3 is lost. Its 47.0 stands in that"
    " column; that it is the PGD-10 accuracy is our reading."
  ),
  "table7_names": (
    "In our copy of Table 7 this row's label is lost, misread or run together with"
    " another's; the order of the strategies and Tables 4 and 5 say which row it is."
  ),
  "table7_moved": (
    "In our copy of Table 7 this number stands one line too low; it was put back into"
    " the gap that it left."
  ),
  "table7_lost": (
    "Lost in our copy of Table 7; the number is that of the same run in Table 5."
  ),
  "table7_40_8": (
    "Doubtful: our copy of Table 7 reads 40.8. Here accuracy would fall by 9.2 points"
    " from PGD-10 to PGD-20, and in no other row of MBN with ALP by more than 2.8."
  ),
  "table7_62_5": (
    "Doubtful: the * row below has a clean accuracy 2.9 points higher, and in no other"
    " pair of Table 7 does the * row have a higher one. No other row's PGD-10 accuracy"
    " is so near its clean one, and no other table repeats it."
  ),
  "table7_same": (
    "Our copy of Table 7 has 53.0 and 49.8 in the MBN row and in the MBN* row, where"
    " the lines around them are damaged. No other table repeats them."
  ),
  "clean_depth": (
    "For 0% adv + 100% clean the text gives the clean accuracy of ResNet-152 (78.9) and"
    " the gain of ResNet-338 over it (0.5). Figure 7 draws the other depths without"
    " numbers."
  ),
}  # fmt: skip

# (table, setting, steps of the attack) -> its notes; None for the whole row.
NOTED: Mapping[tuple[str, str, int | None], tuple[str, ...]] = {
  ("1", "mbn", 2000): ("table1_lost",),
  ("1", "mbn_alp", 2000): ("table1_lost",),
  ("1", "adv", None): ("table1_caption",),
  **{("3", f"alp_study_{row}", None): ("table3_order",) for row in range(2, 7)},
  ("3", "alp_study_5", 2000): ("table3_lost",),
  **{
    ("5", f"{name}{star}{pgd}", None): ("table5_labels",)
    for name in ("mbn", "mbn_alp")
    for star in ("", "_star")
    for pgd in ("", "_pgd20", "_pgd10", "_pgd5")
  },
  ("7", "adv_clean_80", 2000): ("more_clean",),
  ("7", "adv_clean_60", 2000): ("more_clean",),
  ("7", "adv_pgd20", None): ("table7_labels",),
  ("7", "adv_pgd10", None): ("table7_labels",),
  ("7", "adv_pgd5", None): ("table7_labels",),
  **{
    ("7", setting, None): ("table7_names",)
    for setting in (
      "adv_clean_pgd20",
      "adv_clean_pgd10",
      "adv_clean_pgd5",
      "mbn_star_pgd10",
      "mbn_alp_pgd10",
      "mbn_alp_star_pgd10",
      "alp_pgd5",
      "mbn_pgd5",
      "mbn_star_pgd5",
    )
  },
  ("7", "adv_pgd20", 0): ("table7_62_5",),
  ("7", "mbn_alp_star_pgd10", 10): ("table7_moved",),
  ("7", "mbn_alp_star_pgd10", 20): ("table7_40_8",),
  ("7", "mbn_alp_star_pgd10", 2000): ("table7_lost",),
  ("7", "adv_star_pgd5", 100): ("table7_moved",),
  ("7", "adv_star_pgd5", 2000): ("table7_moved",),
  ("7", "mbn_pgd5", 10): ("table7_same",),
  ("7", "mbn_pgd5", 20): ("table7_same",),
  ("7", "mbn_pgd5", 2000): ("table7_lost",),
  ("7", "mbn_star_pgd5", 10): ("table7_same",),
  ("7", "mbn_star_pgd5", 20): ("table7_same",),
  ("7", "batch_size_8192", None): ("batch_8196",),
  ("7", "depth_638", 0): ("r638_clean",),
  ("section 5", "depth_338_clean", 0): ("clean_depth",),
}
