"""``python -m sapnet``, the form that ``accelerate launch -m`` and ``torchrun -m`` need."""

from sapnet.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
