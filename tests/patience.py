"""What "at once" is for a test: far below the time for which a hang would hold it, far above what any machine needs.

The suite's processes share two cores, of machines of very different speed. What the product promises in milliseconds is
measured by `make load` and by bench/, on an idle machine.
"""

AT_ONCE_SECONDS = 3.0
