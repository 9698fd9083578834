"""Numbers from numbers: arrays in, frozen records out; knows no Curves."""
