"""The script that torchrun starts, to compare with Ray's workers."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.integration.with_ray.loops import main

if __name__ == "__main__":
    main(sys.argv[1])
