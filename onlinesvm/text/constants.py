"""The constants of text extraction, for Python and C.

onlinesvm.kernel.constants writes them into a C header at build time, without this package, so
nothing is imported here.
"""

TEXT_VERSION = 1  # of the specification: tokens, names, views, and the table of characters

# Classes of characters. From TEXT_OTHER on they make words, from TEXT_LETTER on they are letters.
TEXT_SPACE = 0
TEXT_IGNORED = 1  # format characters and variation selectors: left out before all else
TEXT_SYMBOL = 2  # all that is nothing else; a byte that is not UTF-8, too
TEXT_OTHER = 3  # numerals that are no digits
TEXT_UNDERSCORE = 4
TEXT_DIGIT = 5
TEXT_MARK = 6
TEXT_LETTER = 7  # of a script without case
TEXT_UPPER = 8
TEXT_LOWER = 9
TEXT_ALONE = 10  # of a script without spaces: a token by itself, with the marks after it

TEXT_CODE_POINTS = 0x110000
TEXT_ESCAPED = 0xDC00  # and the byte: the character of a byte that is not UTF-8

TEXT_BYTES = 65_536  # of text that a record is read to have; the rest is cut off
PIECE_FEATURES = 2**19  # that records may make before the samples after them wait for their turn
MADE_NAME_BYTES = 64  # of names that count as one feature more
TOKEN_CHARACTERS = 64  # of a token that its name has; the rest is left out
SHAPE_CHARACTERS = 16
CATEGORY_BYTES = 1024  # of a category's value that its name has
FIELD_BYTES = 256  # that the name of a field may have, but for a number's

VIEW_WORDS = 0
VIEW_NGRAMS = 1  # crosses of categories, too
VIEW_CHARACTERS = 2
VIEW_NUMBERS = 3
VIEWS = 4
OF_TEXT = 4  # added to the view of a feature that a text has, not a category, number or name

NUMBER_LEVELS = 5  # names of a number: 0 to 4 bits of its mantissa
CROSS_MOST = 5000  # combinations of values up to which two fields are crossed
CROSS_FIELDS = 1024  # whose values are counted; a power of two
CROSS_CATEGORIES = 64  # of a record that are crossed: the first by the names of their fields
