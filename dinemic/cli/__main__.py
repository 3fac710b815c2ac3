"""``python -m dinemic.cli`` is the command `dinemic`."""

from dinemic.cli import main

main(prog_name="dinemic")
