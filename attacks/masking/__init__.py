"""How well answers are masked: a generated corpus, the shared sentences, and Presidio on the same files.

Run `python -m attacks.masking` with the `bench` extra installed. `corpus` is written before the masker is tuned and has
two parts that share no seed, locale or sentence: `development`, to look at failures, and `held_out`, whose figures
count.
"""
