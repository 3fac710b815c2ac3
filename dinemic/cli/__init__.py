"""The command `dinemic`: look into a home, check it, run a node, see a demonstration.

Exit codes: 0 all is well, 1 something was found (or the demonstration went wrong), 2 the call or
the store cannot be used. `docs/cli.md` shows every command.
"""

from __future__ import annotations

import os

import click

from dinemic._version import __version__
from dinemic.cli import access, bundle, demo, doctor, keys, listings, node, state, status, vetoes
from dinemic.cli.common import Commands


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dinemic")
@click.pass_context
def main(context: click.Context) -> None:
    """Signed, encrypted objects that live on every node at once, without a server.

    All commands but demo, node, import, keys, vetoes lift and a repair by doctor only read, also
    beside a running node; status and peers ask it what it is doing.
    They work on the home named by --home, else by DINEMIC_HOME, else on the user's own.

    Exit codes: 0 all is well, 1 findings, 2 the call or the store cannot be used.
    """
    if os.environ.get("NO_COLOR"):
        context.color = False


for _command in (
    demo.demo,
    node.node,
    status.status,
    status.peers,
    listings.objects,
    state.show,
    listings.log,
    access.access,
    vetoes.vetoes,
    state.replay,
    listings.audit,
    doctor.doctor,
    bundle.export_bundle,
    bundle.import_bundle,
    keys.keys,
):
    main.add_command(_command)
