"""What goes wrong with a journal, and what the caller does about it."""


class JournalError(OSError):
    """Nothing was appended and no seq was used, or nothing more was synced: go on without, try again later."""


class JournalFullError(JournalError):
    """There is no room for records of this kind; alarms may still fit where readings do not."""
