"""The program that `interrupt_at_random` interrupts."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.integration.distributed.interrupt_at_random import run

if __name__ == "__main__":
    run()
