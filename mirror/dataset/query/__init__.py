"""Queries: which Dandisets, by what their versions say of themselves.

`Query.parse("species ~ 'Mus musculus' and size < 10GB").matches(facts)`. The language:

- A test is a field, an operator and a value; tests are combined by `and`, `or`, `not` and parentheses. `not` binds
  tighter than `and`, `and` tighter than `or`. Keywords and names of fields may be written in either case.
- `~` contains, `!~` does not contain, `=` is, `!=` is not; `<`, `<=`, `>`, `>=` for numbers, sizes and dates;
  `is missing` and `is present`. Of a field with many values (species, keyword …), `~` and `=` ask for any that fits,
  `!~` and `!=` for none that does.
- Text is compared without regard to case and to how white space and accents are written.
- A value is a word, or stands in single or double quotes. In quotes, the quote itself is written twice; a backslash
  is a backslash.
- A size is a number of bytes, or of kB, MB, GB, TB, PB (powers of a thousand). A date is a year, a month, a day, or a
  time, in UTC unless it names a zone, and means all of it: `created = 2024` is any moment of that year.
- What is missing (a number, a date) passes no comparison, not even `!=`.

`Query.parse` raises a `QueryError` that points at the place. `str(query)` is the canonical text: of queries that are
the same but for spacing, quotes, case and superfluous parentheses, it is the same.

`fields` is the table of fields, `kinds` how values are read and compared, `terms` the tree of tests, `tokens` and
`parser` make it of text, `pointing` the errors. Pure; imports `dataset.facts`, `dataset.times`, and `errors`.
"""

from mirror.dataset.query.fields import FIELDS, Field
from mirror.dataset.query.query import Query

__all__ = ["FIELDS", "Field", "Query"]
