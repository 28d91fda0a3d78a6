"""Mutants of the door: what keeps a label from being lost, doubled, left alone in a crowd, or tied to somebody."""

from mutants.mutant import Edit, Mutant

DOOR = (
    Mutant(
        name="door reads what a transaction took back",
        why="Its producer was told that nobody would read it.",
        edits=(
            Edit(
                "processors/faust_app/commits.py",
                '        consumer._isolation_level = "read_committed"',
                '        consumer.unused = "read_committed"',
            ),
        ),
        tests=("tests/processors/test_processor.py::test_label_that_a_transaction_took_back_does_not_leave",),
    ),
    Mutant(
        name="commits at any moment",
        why="A commit a second says when a suppressed label or a verdict came; a crowd's release says nothing of them.",
        edits=(
            Edit(
                "processors/faust_app/batch_handler.py",
                "        self._commits.offer(plan.left)\n",
                "        self._commits.offer()\n",
            ),
        ),
        tests=(
            "tests/processors/faust_app/test_batch_handler.py::"
            "test_label_of_a_destroyed_key_is_counted_as_suppressed_and_done",
        ),
    ),
    Mutant(
        name="verdicts are stored as they come",
        why="The append times of the door's own topic would say when a session was judged.",
        edits=(
            Edit(
                "processors/faust_app/batch_handler.py",
                "await self.store_verdicts(None if len(self._waiting) > VERDICTS_WAITING_MAX else plan.left)",
                "await self.store_verdicts()",
            ),
        ),
        tests=("tests/processors/faust_app/test_batch_handler.py",),
    ),
    Mutant(
        name="a verdict that waits is acknowledged",
        why="A commit past it, and a crash, and it is forgotten with the log: its bot votes for the rest of the day.",
        edits=(
            Edit(
                "processors/faust_app/batch_handler.py",
                "done = tuple(offset for offset in done if offset != step.verdict.offset)",
                "done = step.done",
            ),
        ),
        tests=("tests/processors/faust_app/test_batch_handler.py",),
    ),
    Mutant(
        name="sealed label read at any place",
        why="Whoever may write to the topic could vote again with what others sealed, on another partition.",
        edits=(
            Edit(
                "processors/faust_app/batch_handler.py",
                "place = place_of(*partition)",
                "place = place_of(batch.topic, 0)",
            ),
        ),
        tests=("tests/processors/faust_app/test_batch_handler.py::test_sealed_label_opens_on_its_own_partition_alone",),
    ),
    Mutant(
        name="day outside the seal that is not the day inside",
        why="A row keyed with one day's key would stay readable on the topic for as long as another day's.",
        edits=(
            Edit(
                "processors/door/records.py",
                "    if said.day != sealed.day:",
                "    if False:",
            ),
        ),
        tests=("tests/processors/door/test_records.py::test_day_outside_the_seal_is_the_day_inside",),
    ),
    Mutant(
        name="commit cap off",
        why="Faust's own rule commits past records that are still being worked on (0.15.3).",
        edits=(
            Edit(
                "processors/faust_app/commits.py",
                "        self._acked[tp].clear()\n        self._acked_index[tp].clear()\n"
                "        return self.commits.committable(tp)\n",
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
                "processors/door/release.py",
                "            self._first = offset\n            return ()\n",
                "            self._first = offset\n            return (offset,)\n",
            ),
        ),
        tests=("tests/processors/door/test_release.py::test_low_watermark_is_where_the_open_range_begins",),
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
                "self.settled = (self.next_offset, self.counts.copied())",
                "self.settled = (self.settled[0] if self.waiting else self.next_offset, self.counts.copied())",
            ),
        ),
        tests=(
            "tests/processors/door/test_outcome_counts.py::test_offset_and_totals_agree_at_every_commit_and_after_every_kill",
        ),
    ),
    Mutant(
        name="Faust's stream acknowledges",
        why="It does so in a `finally`, so also when a batch was cancelled or failed.",
        edits=(Edit("processors/faust_app/agents.py", "stream.noack().events()", "stream.events()"),),
        tests=("tests/processors/faust_app/test_agents.py",),
    ),
    Mutant(
        name="door acknowledges before its output is acknowledged",
        why="A crash in between would lose a label that everybody believes to have left.",
        edits=(
            Edit(
                "processors/faust_app/batch_handler.py",
                "            await self._release(plan)\n            self._acknowledge(batch, plan)\n",
                "            self._acknowledge(batch, plan)\n            await self._release(plan)\n",
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
                "            entry.decided.finish(offsets)\n            entry.acknowledged.finish(offsets)\n",
                "        if entry is not None:\n"
                "            entry.decided.finish(offsets)\n            entry.acknowledged.finish(offsets)\n",
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
                "if opened is not None and opened.generation == batch.generation_id:",
                "if opened is not None:",
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
                "if offset != next_offset and (",
                "if offset < 0 and (",
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
                "        if voters < max(rule.voters_min, 1):\n            return False\n",
                "        if voters < max(rule.voters_min - 1, 1):\n            return False\n",
            ),
        ),
        tests=("tests/processors/door/test_crowd.py",),
    ),
    Mutant(
        name="a crowd with one busy voter leaves at its target",
        why="Where one gave more than half, the crowd tells whose most of it is.",
        edits=(
            Edit(
                "processors/door/crowd.py",
                "if voters >= rule.voters_target and (rule.voters_min < 2 or "
                "2 * self._most_labels.find()[0] <= self._labels):",
                "if voters >= rule.voters_target:",
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
                "        if voters < max(rule.voters_min, 1):\n            return False\n",
                "        if self._labels >= rule.labels_max:\n            return True\n"
                "        if voters < max(rule.voters_min, 1):\n            return False\n",
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
                "            (vote.label for votes in kept.values() for vote in votes if vote.label), "
                "key=lambda label: label.row_id\n",
                "            (vote.label for votes in kept.values() for vote in votes if vote.label), "
                "key=lambda label: 0\n",
            ),
        ),
        tests=("tests/processors/door/test_crowd.py::test_release_is_sorted_by_row_id",),
    ),
    Mutant(
        name="a crowd waits for whoever gives most",
        why="One public key would hold back everybody's labels for as long as it posts.",
        edits=(
            Edit(
                "processors/door/crowd.py",
                "return oldest is not None and self._now_ms - oldest >= rule.wait_ms",
                "return (\n            oldest is not None\n            and self._now_ms - oldest >= rule.wait_ms\n"
                "            and 2 * self._most_labels.find()[0] <= self._labels\n        )",
            ),
        ),
        tests=("tests/processors/door/test_crowd.py",),
    ),
    Mutant(
        name="a surplus leaves after the wait",
        why="Whoever gives most would have more than half of a crowd, which tells whose most of it is.",
        edits=(
            Edit(
                "processors/door/crowd.py",
                "if self._rule.voters_min > 1 and len(kept[largest]) > others:",
                "if False and len(kept[largest]) > others:",
            ),
        ),
        tests=("tests/processors/door/test_crowd.py",),
    ),
    Mutant(
        name="a surplus is chosen by what leaves",
        why="The survivors are then the rows of one voter with the largest row_ids, and known as such.",
        edits=(
            Edit(
                "processors/door/crowd.py",
                "key=lambda vote: (vote.rank, vote.task))",
                'key=lambda vote: vote.label.row_id if vote.label else "")',
            ),
        ),
        tests=("tests/processors/door/test_crowd.py::test_what_is_left_of_a_surplus_does_not_tell_whose_it_is",),
    ),
    Mutant(
        name="bytes are not bounded",
        why="A hundred thousand answers of 32 KB are 3 GB, in a container of one.",
        edits=(
            Edit(
                "processors/door/crowd.py",
                "while self._bytes > self._rule.bytes_max:",
                "while self._bytes > self._rule.bytes_max * 1_000:",
            ),
        ),
        tests=("tests/processors/door/test_crowd.py",),
    ),
    Mutant(
        name="a verdict is forgotten with its crowd",
        why="What a bot goes on answering would leave with the next one.",
        edits=(
            Edit(
                "processors/door/release.py",
                "            labels = self._crowd.release(lambda day: self._epoch_keys(day) is None).labels\n",
                "            labels = self._crowd.release(lambda day: self._epoch_keys(day) is None).labels\n"
                "            self._judged = JudgedVoters()\n",
            ),
        ),
        tests=("tests/processors/door/test_release.py",),
    ),
    Mutant(
        name="a verdict is not stored",
        why="The log forgets it in hours, and a restart before that where its crowd has left.",
        edits=(
            Edit(
                "processors/door/release.py",
                "return StoredVerdict(voter_id, record.day, record.human, self._partition, offset)",
                "return None",
            ),
        ),
        tests=("tests/processors/door/test_release.py",),
    ),
    Mutant(
        name="a stored verdict applies to what lies before it",
        why="A replay would then drop what left the first time, and make another crowd.",
        edits=(
            Edit(
                "processors/door/verdicts.py",
                "return [one for one in verdicts if one.partition == partition and one.offset < first]",
                "return [one for one in verdicts if one.partition == partition]",
            ),
        ),
        tests=("tests/processors/door/test_release.py", "tests/processors/door/test_verdicts.py"),
    ),
    Mutant(
        name="stored verdicts on one voter replace each other",
        why="A replay that goes on between two of them needs the earlier one.",
        edits=(
            Edit(
                "processors/door/records.py",
                'return verdict.voter_id + verdict.partition.to_bytes(4, "big") + verdict.offset.to_bytes(8, "big")',
                "return verdict.voter_id",
            ),
        ),
        tests=("tests/processors/door/test_verdicts.py",),
    ),
    Mutant(
        name="the loop stands still for a whole batch",
        why="Heartbeats, commits and the watchdog's question would wait for a minute of hostile answers.",
        edits=(
            Edit(
                "processors/faust_app/batch_handler.py",
                "if monotonic() - let_go_at >= YIELD_S:",
                "if monotonic() - let_go_at >= YIELD_S + 1e9:",
            ),
        ),
        tests=("tests/processors/faust_app/test_batch_handler.py",),
    ),
    Mutant(
        name="time spent in a batch is a stall",
        why="The watchdog ends a door that works, its records come again, and nothing ever leaves.",
        edits=(
            Edit(
                "processors/faust_app/watchdog.py",
                "marks = (one.committed, one.next_undecided, one.progress)",
                "marks = (one.committed, one.next_undecided, 0)",
            ),
        ),
        tests=("tests/processors/faust_app/test_watchdog.py",),
    ),
    Mutant(
        name="counts are shown as they happen",
        why="A scrape every second would say when each session was active.",
        edits=(
            Edit(
                "processors/faust_app/metrics.py",
                "            self._show_held()\n\n    def note_suppressed",
                "            self._show_held()\n        self.show(0)\n\n    def note_suppressed",
            ),
        ),
        tests=("tests/processors/faust_app/test_metrics.py",),
    ),
    Mutant(
        name="what is left of an expired range is released",
        why="Its beginning may have left before; the rest beside others could be told apart by subtraction.",
        edits=(Edit("processors/door/release.py", "elif offset < self._suppress_before:", "elif offset < 0:"),),
        tests=("tests/processors/door/test_release.py::test_after_lost_records_nothing_that_was_there_is_released",),
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
                "                        key=None,\n                        value=value,\n",
                "                        key=label.task.encode(),\n                        value=value,\n",
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
