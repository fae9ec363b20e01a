"""What is told as a note: nothing is wrong, and who runs the program should know it."""


class Notice(UserWarning):
    """Something that is read, though not as it should be stored; commands show it as a line."""
