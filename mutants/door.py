"""Mutants of the door: what keeps a label from being lost, doubled, left alone in a crowd, or tied to somebody."""

from mutants.mutant import Edit, Mutant

DOOR = (
    Mutant(
        name="commit cap off",
        why="Faust's own rule commits past records that are still being worked on (0.15.3).",
        edits=(
            Edit(
                "processors/faust_app/commits.py",
                "        self._acked[tp].clear()\n        self._acked_index[tp].clear()\n"
                "        self._gap.pop(tp, None)\n        return self.commits.committable(tp)\n",
                "        offset: int | None = super()._new_offset(tp)\n        return offset\n",
            ),
        ),
        tests=("tests/processors/faust_app/test_commits.py",),
    ),
    Mutant(
        name="commit past the first record that is held",
        why="What a crowd waits with has to come again after a restart, all of it.",
        edits=(
            Edit(
                "processors/door/crowd_release.py",
                "            self._first = offset\n            return self._step(())\n",
                "            self._first = offset\n            return self._step((offset,))\n",
            ),
        ),
        tests=("tests/processors/door/test_crowd_release.py::test_low_watermark_is_where_the_open_range_begins",),
    ),
    Mutant(
        name="totals of a crowd that still gathers",
        why="They would lie beside an offset from which its records come again, and be counted twice.",
        edits=(
            Edit(
                "processors/faust_app/batch_handler.py",
                "        if waiting and not self.waiting:\n",
                "        if False:\n",
            ),
            Edit("processors/faust_app/batch_handler.py", "        if not self.waiting:\n", "        if True:\n"),
            Edit(
                "processors/faust_app/batch_handler.py",
                "self.settled = (self.next_offset, self.tally.copied())",
                "self.settled = (self.settled[0] if self.waiting else self.next_offset, self.tally.copied())",
            ),
        ),
        tests=(
            "tests/processors/door/test_tally.py::test_offset_and_totals_agree_at_every_commit_and_after_every_kill",
        ),
    ),
    Mutant(
        name="take instead of noack_take",
        why="`take` acknowledges the batch in a `finally`, so also when it was cancelled or failed.",
        edits=(Edit("processors/faust_app/agents.py", "stream.noack_take(", "stream.take_events("),),
        tests=("tests/processors/faust_app/test_agents.py",),
    ),
    Mutant(
        name="door acknowledges before its output is acknowledged",
        why="A crash in between would lose a label that everybody believes to have left.",
        edits=(
            Edit(
                "processors/faust_app/batch_handler.py",
                "        await self._release(plan)\n        for message in messages:\n",
                "        for partition, generation, offset in plan.done:\n"
                "            self._commits.acknowledge(partition, generation, offset)\n"
                "        await self._release(plan)\n        for message in messages:\n",
            ),
        ),
        tests=(
            "tests/processors/faust_app/test_batch_handler.py::test_record_is_acknowledged_only_after_the_broker_did",
        ),
    ),
    Mutant(
        name="sent taken for acknowledged",
        why="`await send()` returns a future; only the future's end is the broker's acknowledgement.",
        edits=(
            Edit(
                "processors/faust_app/producer.py",
                "        if sent:\n            await asyncio.wait(sent)\n"
                "        return [outcome.exception() if isinstance(outcome, asyncio.Future) else outcome "
                "for outcome in outcomes]\n",
                "        return [None if isinstance(outcome, asyncio.Future) else outcome for outcome in outcomes]\n",
            ),
        ),
        tests=("tests/processors/faust_app/test_producer.py",),
    ),
    Mutant(
        name="acknowledgement of an earlier generation counts",
        why="A batch that a rebalance overtook belongs to whoever has the partition now.",
        edits=(
            Edit(
                "processors/faust_app/commits.py",
                "        if entry is not None and entry.generation == generation:\n"
                "            entry.decided.finish(offset)\n            entry.acknowledged.finish(offset)\n",
                "        if entry is not None:\n"
                "            entry.decided.finish(offset)\n            entry.acknowledged.finish(offset)\n",
            ),
        ),
        tests=("tests/processors/faust_app/test_commits.py",),
    ),
    Mutant(
        name="a door is kept over a rebalance",
        why="What it held comes again; counted twice it would make a crowd of half the people.",
        edits=(
            Edit(
                "processors/faust_app/batch_handler.py",
                "if opened is not None and opened.generation != generation:",
                "if opened is not None and opened.generation > generation:",
            ),
        ),
        tests=("tests/processors/faust_app/test_batch_handler.py::test_rebalance_opens_a_new_door",),
    ),
    Mutant(
        name="a batch that a rebalance overtook is taken through",
        why="Its partition is somebody else's by then, and what is known of its last commit is not this batch's.",
        edits=(
            Edit(
                "processors/faust_app/commits.py",
                "        return entry is not None and entry.generation == generation\n\n    def passed_over",
                "        return True\n\n    def passed_over",
            ),
        ),
        tests=("tests/processors/faust_app/test_batch_handler.py",),
    ),
    Mutant(
        name="records out of order go through",
        why="A crowd of records that were left out or repeated is not the one that a replay makes.",
        edits=(
            Edit(
                "processors/faust_app/batch_handler.py",
                "if message.offset < next_offset or self._passed_over(message, next_offset):",
                "if message.offset < 0:",
            ),
        ),
        tests=("tests/processors/faust_app/test_batch_handler.py",),
    ),
    Mutant(
        name="flush a small crowd",
        why="Fewer voters than promised hide nobody; no shutdown, bound or clock may let them go.",
        edits=(
            Edit(
                "processors/door/crowd.py",
                "return len(self._votes) >= self._voters_min and 2 * self._largest",
                "return len(self._votes) >= self._voters_min - 1 and 2 * self._largest",
            ),
        ),
        tests=("tests/processors/door/test_crowd.py",),
    ),
    Mutant(
        name="a crowd with one busy voter leaves",
        why="Where one gave more than half, the crowd tells whose most of it is.",
        edits=(
            Edit(
                "processors/door/crowd.py",
                "return len(self._votes) >= self._voters_min and 2 * self._largest <= self._labels",
                "return len(self._votes) >= self._voters_min",
            ),
        ),
        tests=("tests/processors/door/test_crowd.py",),
    ),
    Mutant(
        name="a crowd is released partly at its bound",
        why="Memory is bounded by suppressing the largest voter, never by letting go of what is there.",
        edits=(
            Edit(
                "processors/door/crowd.py",
                "return len(self._votes) >= self._voters_min and 2 * self._largest <= self._labels",
                "return self._labels >= self._labels_max or (\n"
                "            len(self._votes) >= self._voters_min and 2 * self._largest <= self._labels\n        )",
            ),
        ),
        tests=("tests/processors/door/test_crowd.py",),
    ),
    Mutant(
        name="labels leave in the order they came",
        why="The order of answers is the order in which sessions were active.",
        edits=(
            Edit(
                "processors/door/crowd.py",
                "labels = sorted((label for given in kept.values() for label in given), "
                "key=lambda label: label.row_id)",
                "labels = [label for given in kept.values() for label in given]",
            ),
        ),
        tests=("tests/processors/door/test_crowd.py::test_release_is_sorted_by_row_id",),
    ),
    Mutant(
        name="what is left of an expired range is released",
        why="Its beginning may have left before; the rest beside others could be told apart by subtraction.",
        edits=(Edit("processors/door/crowd_release.py", "if offset < self._suppress_before:", "if offset < 0:"),),
        tests=(
            "tests/processors/door/test_crowd_release.py::test_after_lost_records_nothing_that_was_there_is_released",
        ),
    ),
    Mutant(
        name="masking off for one kind",
        why="Every kind of answer is a free string of a public key.",
        edits=(
            Edit(
                "processors/door/deidentify.py",
                "    answer = mask(canonical(label.answer))\n",
                '    answer = label.answer if label.kind == "audio_transcript" else mask(canonical(label.answer))\n',
            ),
        ),
        tests=("tests/processors/door/test_deidentify.py",),
    ),
    Mutant(
        name="answers leave in the style they were typed in",
        why="Quote styles and invisible characters find a session's other answers, and hide numbers from the masker.",
        edits=(Edit("processors/door/deidentify.py", "mask(canonical(label.answer))", "mask(label.answer)"),),
        tests=("tests/processors/door/test_deidentify.py",),
    ),
    Mutant(
        name="invisible characters are kept",
        why="One bit a place is a watermark that nobody sees.",
        edits=(
            Edit(
                "processors/masking/canonical.py",
                "_DROPPED = (*DEFAULT_IGNORABLE, *OTHER_FORMAT, ",
                "_DROPPED = (*OTHER_FORMAT, ",
            ),
        ),
        tests=("tests/processors/door/test_deidentify.py",),
    ),
    Mutant(
        name="masking without a bound",
        why="A stranger chooses the answers, and the door masks them one after the other.",
        edits=(Edit("processors/masking/search.py", "        if self.left < 0:\n", "        if False:\n"),),
        tests=("tests/processors/masking/test_mask.py::test_work_is_bounded_by_the_bytes_of_an_answer",),
    ),
    Mutant(
        name="masking misses one kind of personal data",
        why="Each detector is one kind of identifier that would leave in the clear.",
        edits=(
            Edit(
                "processors/masking/mask.py", "urls, emails, disguised_emails, uuids", "urls, disguised_emails, uuids"
            ),
        ),
        tests=("tests/processors/masking/test_mask.py",),
    ),
    Mutant(
        name="the record key is kept at the door",
        why="The key of an identified label is its voter.",
        edits=(
            Edit(
                "processors/faust_app/batch_handler.py",
                "                    key=None,\n                    value=value_of(label),\n",
                "                    key=label.task.encode(),\n                    value=value_of(label),\n",
            ),
        ),
        tests=(
            "tests/processors/faust_app/test_batch_handler.py::test_released_record_has_its_value_its_day_and_nothing_else",
        ),
    ),
    Mutant(
        name="released records are stamped with the time",
        why="When a label left, to the millisecond, is when its crowd was active.",
        edits=(Edit("processors/faust_app/batch_handler.py", "timestamp_s=midnight_s(label.day)", "timestamp_s=None"),),
        tests=(
            "tests/processors/faust_app/test_batch_handler.py::test_released_record_has_its_value_its_day_and_nothing_else",
        ),
    ),
    Mutant(
        name="watchdog off",
        why="Faust's loop may hang, and an assignment too: nobody inside can help.",
        edits=(
            Edit(
                "processors/faust_app/watchdog.py",
                "return now_s - self._since[partition] >= self._stall_s",
                "return now_s - self._since[partition] >= self._stall_s + 1e9",
            ),
        ),
        tests=("tests/processors/faust_app/test_watchdog.py",),
    ),
    Mutant(
        name="watchdog blind to a loop that hangs",
        why="Once others have its partitions, a worker that hangs shows nowhere in the offsets.",
        edits=(
            Edit(
                "processors/faust_app/watchdog.py",
                "return self._waited_s >= self._stall_s",
                "return self._waited_s >= self._stall_s + 1e9",
            ),
        ),
        tests=("tests/processors/faust_app/test_watchdog.py",),
    ),
    Mutant(
        name="dead letters without a cap at the door",
        why="A bad deployment stops; it does not turn the topic into dead letters.",
        edits=(
            Edit(
                "schemas/dead_letters.py",
                "return self.set_aside > self._most\n",
                "return False\n",
            ),
        ),
        tests=(
            "tests/processors/faust_app/test_batch_handler.py::test_door_that_can_read_too_little_halts_before_it_sets_more_aside",
            "tests/schemas/test_dead_letters.py",
        ),
    ),
)
