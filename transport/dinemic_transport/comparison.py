"""Do two nodes that know the same events judge them alike? If not, of which first (VETO-4)?

Verdicts depend on the set that counts (REC-1) and on nothing else, so between nodes that keep the
rules two things cannot be::

    A: e1 e2 e3   effective e1    e3      the same set, and other effective events: rows say it
    B: e1 e2 e3   effective e1 e2 e3

    A: e1    e3   knows e2, inert         other sets, though each knows all of the other's: a
    B: e1 e2 e3                           catch-up says it, for it finds all of it known

The first holds of any two rows, whenever they were said. The second comes before the first: what
only one side gives effect is not in the other's set until somebody builds on it. It needs both sets
to stand still from before the catch-up to its end, and no event to be refused, held or missing. Why
it cannot be: the owner's events always stand, so both count the same. Admins' are judged by those
alone, and the others by these, so rank by rank an event that stands on one side and is known on the
other stands there too.

A `Comparison` looks for the first event in the order that only one side gives effect, by
reconciling the effective events as a catch-up does all events, and asks the other side about it::

    ask --> Ask ... Answer --> learn --> check --> Dispute ... Confirm --> done
     ^                           |
     +---- none found yet -------+

Invariant: `found` is set only if each side has read its row again, after everything else, and found
it to be what the other had compared. A set that changed never becomes what it was, so both stood
still meanwhile. Sets that change cost a comparison and never a false alarm; a peer that lies can
raise an alarm about itself.
"""

from __future__ import annotations

from dinemic_engine.errors import TransportError
from dinemic_engine.ids import to_text
from dinemic_engine.reconcile import Reconciler, Segment, Settled
from dinemic_transport.jobs import AskJob, Checked, CheckJob, Job, LearnJob
from dinemic_transport.messages import Answer, Ask, Confirm, Dispute, Row
from dinemic_transport.rows import Divergence


class Comparison:
    """The state of one comparison. `advance` says what comes next until `done`."""

    def __init__(self, mine: Row, theirs: Row) -> None:
        self.model = mine.model
        self.done = False
        self.found: Divergence | None = None
        """What both sides agree they judge differently."""
        self._mine = mine
        self._theirs = theirs
        self._reconciler = Reconciler()
        self._busy = False
        """A job runs, or an answer of the peer is awaited."""
        self._asked = False
        self._settled: Settled | None = None
        self._dispute: Dispute | None = None
        self._disputed = False

    def advance(self) -> Job | Dispute | None:
        """The next job to run or message to send; None while waiting, and when done."""
        if self._busy or self.done:
            return None
        self._busy = True
        if self._dispute is not None:
            self._disputed = True
            return self._dispute
        if self._settled is not None:
            return CheckJob(self._mine, self._settled)
        if not self._reconciler.done:
            return AskJob(self.model, self._reconciler, effective=True)
        self._busy, self.done = False, True
        return None

    def asked(self, question: tuple[Segment, ...]) -> Ask | None:
        """`AskJob` is done: the message to send, if there is a question."""
        if not question:
            self.learned(self._reconciler.settle())
            return None
        self._asked = True
        return Ask(self.model, question, effective=True)

    def answered_untrusted(self, answer: Answer) -> Job:
        """The peer has answered: the job that learns from it.

        Raises:
            TransportError: nothing was asked.
        """
        kind = answer.model, answer.effective, answer.listed
        if not self._asked or kind != (self.model, True, False):
            raise TransportError("an answer to nothing asked")
        self._asked = False
        return LearnJob(self.model, self._reconciler, answer.segments, effective=True)

    def learned(self, settled: Settled) -> None:
        """`LearnJob` is done. What comes first in the order is settled first."""
        self._busy = False
        if settled.need or settled.have:
            self._settled = settled

    def checked(self, checked: Checked) -> None:
        """`CheckJob` is done."""
        self._busy = False
        if checked.key is None:
            self.done = True
        else:
            row = (self._theirs.fingerprint, self._theirs.effective)
            self._dispute = Dispute(self.model, checked.key, checked.effective, row)

    def confirmed_untrusted(self, answer: Confirm) -> None:
        """The peer has answered our dispute.

        Raises:
            TransportError: there was none.
        """
        if not self._disputed or self._dispute is None or answer.model != self.model:
            raise TransportError("a confirmation of nothing disputed")
        self._disputed = self._busy = False
        self.done = True
        if answer.confirmed:
            said = self._dispute
            self.found = Divergence(said.model, to_text(said.key[1]), effective_here=said.effective)
