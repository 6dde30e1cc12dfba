"""The way back: which routes there are from where a release stands, and what each would lose."""
