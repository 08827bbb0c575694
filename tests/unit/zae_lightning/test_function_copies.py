"""Function copies: other objects under some global names, and the original left alone."""

from __future__ import annotations

import math

from zae_lightning.function_copies import with_globals


def area(radius, *, scale=2):
    """Return an area."""
    return scale * math.pi * radius**2


class Pi:
    pi = 3


def test_a_copy_finds_another_object_and_the_original_does_not():
    copy = with_globals(area, math=Pi)
    assert copy(2) == 24
    assert copy(2, scale=1) == 12
    assert copy.__name__ == "area"
    assert area(1) == 2 * math.pi


def test_a_method_that_calls_super_can_be_copied():
    class Base:
        def radius(self):
            return 1

    class Circle(Base):
        def area(self):
            return math.pi * super().radius()

    Circle.area = with_globals(Circle.area, math=Pi)
    assert Circle().area() == 3


def test_without_such_a_global_name_the_function_itself_is_returned():
    assert with_globals(area, other=Pi) is area
    assert with_globals(area, math=Pi, other=Pi) is area
