"""Texts for models with real weights: what they continue, and what their perplexity is measured on. Written for this project."""

from __future__ import annotations

from typing import Final

ENGLISH_PROMPT: Final = "A profiler shows where a program spends its time. When a model is slow, the first thing to look at is"

ENGLISH: Final = """\
The harbour lies at the end of a long bay, and in winter the wind comes straight down it. Ships that arrive before noon wait
outside until the tide turns, because the channel is narrow and the current strong. An old lighthouse stands on the northern
side. Nobody has lived in it for thirty years, but the lamp still burns; a small motor turns it, and twice a year a woman
from the town climbs the stairs to clean the glass.

She says that the work takes her two days. On the first day she carries up the water, the cloths and the food, and checks
the motor. On the second she cleans one pane after the other, always in the same order, so that she cannot forget one. From
the top she can see the whole bay, the fields behind the town, and on clear mornings the mountains on the other side.

When the town was bigger, there were three such lights, and a keeper for each of them. They wrote down every ship that
passed, the weather, and what they had repaired. The books are in the library now. Most of the entries are short: fog until
ten, a broken window, two fishing boats. Some are longer, and tell of storms in which the keeper did not sleep for several
nights. Historians have used them to find out how the weather has changed. They counted the days with ice in the harbour and
drew a curve. It falls, not evenly, but without much doubt.

The light itself has become less important, since every ship knows where it is without looking. The town keeps it all the
same. It costs little, and there are people who would miss it. If you ask them why, they say that it has always been there,
which is not true, but is close enough to the truth to settle the question.
"""

CODE_PROMPT: Final = """\
    def put(self, name):
        self.names.append(name)

    def """

CODE: Final = '''\
class Shelf:
    """Books by their title, in the order in which they were put there."""

    def __init__(self, size=None):
        self._books = {}
        self._size = size

    def __len__(self):
        return len(self._books)

    def __contains__(self, title):
        return title in self._books

    def put(self, title, book, replace=False):
        """Put a book on the shelf.

        Raises ValueError if the shelf is full, or if the title is there
        already and replace is false.
        """
        if title in self._books and not replace:
            raise ValueError("%r is on the shelf already" % (title,))
        if self._size is not None and len(self._books) >= self._size:
            raise ValueError("the shelf is full")
        self._books[title] = book

    def take(self, title, default=None):
        """Remove a book and return it, or default if it is not there."""
        try:
            return self._books.pop(title)
        except KeyError:
            return default

    def titles(self):
        for title in sorted(self._books):
            yield title


def read_shelf(path, encoding="utf-8"):
    """Return the shelf that a file lists, one title a line."""
    shelf = Shelf()
    with open(path, encoding=encoding) as lines:
        for number, line in enumerate(lines, 1):
            title, sep, book = line.strip().partition("=")
            if not sep:
                raise ValueError("line %d: no title" % number)
            shelf.put(title.strip(), book.strip())
    return shelf
'''
