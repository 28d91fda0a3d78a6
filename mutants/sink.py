"""Mutants of the sinks: what makes an insert happen exactly once, and a record one row."""

from mutants.mutant import Edit, Mutant

_SIGNALS_END = (
    "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;\n\nCREATE TABLE IF NOT EXISTS unjoin.analytics"
)

_SIMULATED_SINK = "tests/simulation/test_simulation.py::test_faults_anywhere_lose_nothing_and_double_nothing[sink]"

SINK = (
    Mutant(
        name="bytes behind a datum are passed over",
        why="Whoever writes them would have a record be a row and something else as well; the engine refuses it.",
        edits=(Edit("sinks/blocks/_native.c", "        if (p != end)\n            return 0;\n", ""),),
        tests=(
            "tests/sinks/blocks/test_native.py::test_what_ends_too_soon_or_goes_on_is_left_to_the_engine",
            "tests/contract/test_engine_contract.py"
            "::test_what_is_not_exactly_one_datum_is_refused_and_takes_its_block_along",
        ),
    ),
    Mutant(
        name="a number of more than 64 bits",
        why="Compiled code may take nothing that the engine would refuse or read in another way.",
        edits=(Edit("sinks/blocks/_native.c", "if (shift == 63 && byte > 1)", "if (shift == 63 && byte > 127)"),),
        tests=("tests/sinks/blocks/test_native.py::test_form_that_no_writer_of_ours_writes",),
    ),
    Mutant(
        name="columns filled by the place of a field",
        why="An older schema has fewer fields, and a newer one may have them in another order.",
        edits=(
            Edit(
                "sinks/blocks/native.py",
                'numbers.get(field["name"], -1)',
                "min(len(fields), len(table.columns)) - 1",
            ),
        ),
        tests=("tests/sinks/blocks/test_native.py::test_columns_in_any_number_and_order_are_the_engines_own",),
    ),
    Mutant(
        name="a step of any length counts",
        why="One session that sends 10^308 would have an infinite path, and a model that meets it stops.",
        edits=(Edit("sinks/migrations/0008_session_features.sql", "ms < 250 AND px <= 100000", "ms < 250"),),
        tests=(
            "tests/sinks/clickhouse/test_session_features.py"
            "::test_events_without_anything_to_measure_give_null_and_zero",
        ),
    ),
    Mutant(
        name="features of sessions that go on",
        why="A file is never written again: what it says of a session has to be whole.",
        edits=(Edit("unjoin/export/signal_views.py", "timedelta(hours=25)", "timedelta(hours=1)"),),
        tests=(
            "tests/unjoin/export/test_by_day.py::test_a_session_is_in_one_file_of_features_whole_a_day_after_it_began",
        ),
    ),
    Mutant(
        name="a replica that lags is believed",
        why="A repair there finds rows missing that a majority has, and stores them again.",
        edits=(
            Edit(
                "sinks/clickhouse/server.py",
                '"select_sequential_consistency": 1,',
                '"select_sequential_consistency": 0,',
            ),
        ),
        tests=("tests/simulation/test_simulation.py::test_faults_anywhere_lose_nothing_and_double_nothing[replicas]",),
    ),
    Mutant(
        name="a table of one replica alone",
        why="Told a cluster, every table is replicated; else a failover finds another database.",
        edits=(Edit("sinks/clickhouse/migrate.py", 'f"Replicated{found[1]}(', 'f"{found[1]}('),),
        tests=(
            "tests/sinks/clickhouse/test_migrate.py"
            "::test_on_a_cluster_every_table_is_replicated_and_made_on_each_replica",
        ),
    ),
    Mutant(
        name="virtual columns that anybody reads",
        why="An insert's part holds the members of its crowds until it is merged.",
        edits=(Edit("sinks/http/read_only.py", "        if OF_A_PART.search(judged):\n", "        if False:\n"),),
        tests=("tests/sinks/http/test_interface.py::test_nobody_is_told_which_part_a_row_lies_in",),
    ),
    Mutant(
        name="a structure is text like any other",
        why="The engine runs the expressions of a table function's structure: `values('a String ALIAS file(…)', 1)`.",
        edits=(
            Edit("sinks/http/read_only.py", "        if not _values_are_plain(canonical):\n", "        if False:\n"),
        ),
        tests=("tests/sinks/http/test_attacks.py::test_no_text_becomes_code",),
    ),
    Mutant(
        name="a setting has any name",
        why="A name becomes part of a statement that runs before the session is read-only.",
        edits=(
            Edit("sinks/http/read_only.py", " or name not in self.setting_names:", ":"),
            Edit("sinks/clickhouse/embedded.py", 'not re.fullmatch(r"[A-Za-z_]\\w*", name, re.ASCII)', "False"),
        ),
        tests=("tests/sinks/http/test_attacks.py::test_no_field_of_the_url_becomes_code",),
    ),
    Mutant(
        name="labels may be read without FINAL",
        why="Without it the rows of one insert follow each other, and they left the door together.",
        edits=(Edit("sinks/http/read_only.py", " and not _counts_labels(judged, asked):", " and False:"),),
        tests=("tests/sinks/http/test_interface.py::test_without_final_there_are_counts_of_labels_alone",),
    ),
    Mutant(
        name="a text that cannot be cut is cut anyway",
        why="Where the engine may see a literal's end elsewhere, everything has to count as code.",
        edits=(
            Edit(
                "sinks/http/statement.py",
                '    if _STRANGE.search(_QUOTED.sub("", canonical)):\n        return None\n',
                "",
            ),
        ),
        tests=("tests/sinks/http/test_read_only.py::test_what_reaches_outside_is_refused_wherever_it_stands",),
    ),
    Mutant(
        name="an external table with expressions",
        why="Its structure is part of a statement that runs before the session is read-only.",
        edits=(Edit("sinks/http/external_tables.py", "        if not _plain(kind):\n", "        if False:\n"),),
        tests=("tests/sinks/http/test_attacks.py::test_no_external_table_becomes_code",),
    ),
    Mutant(
        name="labels are read part by part",
        why="The engine's own FINAL gives one insert's rows after the other's, and those left the door together.",
        edits=(
            Edit(
                "sinks/http/read_only.py",
                "**(MERGED_BY_KEY if rows else {})",
                "**({} if rows else {})",
            ),
        ),
        tests=("tests/sinks/http/test_interface.py::test_rows_of_one_insert_do_not_follow_each_other",),
    ),
    Mutant(
        name="EXPLAIN counts the parts of labels",
        why="Asked of one key after the other, it gives every part's range.",
        edits=(
            Edit(
                "sinks/http/read_only.py",
                "if may_read_labels(judged) and EXPLAIN_OF_PARTS.search(canonical):",
                "if False:",
            ),
        ),
        tests=("tests/sinks/http/test_interface.py::test_nobody_is_told_which_part_a_row_lies_in",),
    ),
    Mutant(
        name="rows that outlive a time that was shortened",
        why="A setting that only new tables follow keeps what an operator believes deleted.",
        edits=(
            Edit(
                "sinks/clickhouse/retention.py",
                '        elif wanted and f" TTL {TTL.format(wanted)}" not in engines[table]:\n',
                "        elif wanted and not has_ttl:\n",
            ),
        ),
        tests=("tests/sinks/clickhouse/test_retention.py",),
    ),
    Mutant(
        name="foreign commit is believed",
        why="Whoever commits under the sink's group would pass over records that nobody stored.",
        edits=(
            Edit(
                "sinks/kafka/commit_marks.py",
                "        return Meaning(Kind.FOREIGN, Commit(None))\n",
                "        return Meaning(Kind.FOREIGN, commit)\n",
            ),
        ),
        tests=(
            "tests/sinks/kafka/test_commit_marks.py::test_commit_without_a_mark_is_believed_only_where_it_was_adopted",
        ),
    ),
    Mutant(
        name="commits of another database are gone on from",
        why="A second sink would take rows that belong elsewhere; an empty folder would stay empty.",
        edits=(
            Edit(
                "sinks/kafka/commit_marks.py",
                "Kind.OTHER if database not in moments else Kind.OWN if moment in moments[database] else Kind.AHEAD",
                "Kind.OWN if database not in moments or moment in moments[database] else Kind.AHEAD",
            ),
        ),
        tests=(
            "tests/sinks/kafka/test_commit_marks.py::test_own_commit_is_gone_on_from_and_one_of_elsewhere_is_refused",
        ),
    ),
    Mutant(
        name="restored backup is gone on with",
        why="What was stored since the backup would be missing, and its offsets passed.",
        edits=(
            Edit("sinks/kafka/commit_marks.py", "Kind.OWN if moment in moments[database] else Kind.AHEAD", "Kind.OWN"),
        ),
        tests=(
            "tests/sinks/kafka/test_commit_marks.py::test_own_commit_is_gone_on_from_and_one_of_elsewhere_is_refused",
        ),
    ),
    Mutant(
        name="mark that the database does not hold",
        why="After a restart the sink would refuse its own commits.",
        edits=(
            Edit(
                "sinks/clickhouse/marks.py",
                'f"INSERT INTO unjoin.sink_marks (database, moment) SELECT',
                'f"SELECT',
            ),
        ),
        tests=("tests/sinks/clickhouse/test_marks.py::test_database_keeps_its_id_and_knows_the_moments_of_every_sink",),
    ),
    Mutant(
        name="commits of the version before are taken over at every start",
        why="A foreign commit that was made between two starts would be believed.",
        edits=(
            Edit(
                "sinks/clickhouse/marks.py",
                "        if group in self._looked_at or not self._held_rows:\n",
                "        if not self._held_rows:\n",
            ),
            Edit(
                "sinks/clickhouse/marks.py",
                "        self.read()\n        if group in self._looked_at:\n            return\n",
                "",
            ),
        ),
        tests=(
            "tests/sinks/clickhouse/test_marks.py::test_commits_of_the_version_before_are_taken_over_once_into_what_it_filled",
        ),
    ),
    Mutant(
        name="group is joined before its commits are looked at",
        why="A sink of another database would take partitions away from the one that stores them.",
        edits=(
            Edit(
                "sinks/kafka/consumer.py",
                "        await self._be_admitted()\n        self.consumer.subscribe",
                "        self.consumer.subscribe",
            ),
        ),
        tests=("tests/sinks/kafka/test_foreign_commits.py::test_sink_of_another_database_is_refused_before_it_joins",),
    ),
    Mutant(
        name="rewind that sets a group forward",
        why="Records between would be read by nobody.",
        edits=(
            Edit(
                "sinks/kafka/commit_marks.py",
                "        offset = max(start, min(offset, meaning.go_on.offset))\n",
                "",
            ),
        ),
        tests=("tests/sinks/kafka/test_commit_marks.py::test_rewound_group_reads_again_what_the_database_may_lack",),
    ),
    Mutant(
        name="offsets that transactions take count as expired",
        why="The audit would stay red although nothing was lost.",
        edits=(
            Edit(
                "sinks/kafka/block_planner.py",
                "(expired := min(begins, log_start) - self.read_to)",
                "(expired := begins - self.read_to)",
            ),
        ),
        tests=(
            "tests/sinks/kafka/test_block_planner.py::test_of_offsets_that_are_missing_those_below_the_logs_start_expired",
        ),
    ),
    Mutant(
        name="what a transaction took back is stored",
        why="Its producer was told that nobody would read it.",
        edits=(
            Edit("sinks/kafka/consumer.py", 'isolation_level="read_committed"', 'isolation_level="read_uncommitted"'),
        ),
        tests=(
            "tests/sinks/kafka/test_transactions.py::test_what_a_transaction_took_back_is_not_stored_and_did_not_expire",
        ),
    ),
    Mutant(
        name="log shorter than its commit is read from its end",
        why="A topic that was made again would lose what came before the sink looked.",
        edits=(Edit("sinks/kafka/block_planner.py", "        if self.rewound:  #", "        if False:  #"),),
        tests=(
            "tests/sinks/kafka/test_block_planner.py::test_log_shorter_than_the_commit_is_read_from_its_start_for_what_is_missing",
        ),
    ),
    Mutant(
        name="records that were read before the worker began elsewhere",
        why="They would be taken for the next ones, and all between for a gap.",
        edits=(Edit("sinks/kafka/partition_worker.py", " or planner is not self._blocks:\n", ":\n"),),
        tests=("tests/simulation/test_simulation.py::test_foreign_commit_that_was_read_from_is_read_again",),
    ),
    Mutant(
        name="intent not committed before the insert",
        why="After a crash nobody would know which range may be stored already.",
        edits=(
            Edit(
                "sinks/kafka/block_planner.py",
                "        if not self._is_committed(intent):\n            return intent\n",
                "",
            ),
        ),
        tests=("tests/sinks/kafka/test_block_planner.py::test_intent_is_committed_before_its_range_is_inserted",),
    ),
    Mutant(
        name="commit past the block before the insert",
        why="A crash in between would lose the block.",
        edits=(
            Edit(
                "sinks/kafka/block_planner.py",
                "        intent = self._commit_of(Intent(block.end, self.uncertain_to).metadata(self.first))\n",
                '        intent = Commit(block.end, "")\n',
            ),
        ),
        tests=(
            "tests/sinks/kafka/test_block_planner.py::test_intent_is_committed_before_its_range_is_inserted",
            "tests/sinks/kafka/test_block_planner.py::test_crash_anywhere_leaves_every_row_stored_once_and_every_letter_sent",
        ),
    ),
    Mutant(
        name="whole block again instead of the missing rows",
        why="Of a block whose outcome is unknown, rows may be stored.",
        edits=(
            Edit(
                "sinks/kafka/partition_worker.py",
                "attempt = self._attempt_missing if insert.missing else self._attempt",
                "attempt = self._attempt",
            ),
        ),
        tests=(_SIMULATED_SINK, "tests/sinks/kafka/test_consumer.py::test_lost_replies_leave_every_row_once"),
    ),
    Mutant(
        name="anti-join without its condition",
        why="The same, in the engine's own words.",
        edits=(Edit("sinks/clickhouse/statements.py", ' WHERE ({key}) NOT IN ({stored})"', '"'),),
        tests=("tests/sinks/clickhouse/test_embedded.py::test_only_the_missing_rows_are_inserted",),
    ),
    Mutant(
        name="deduplication token instead of the anti-join",
        why="The engine logs a token before the part is in place: killed in between, it swallows every retry.",
        edits=(
            Edit(
                "sinks/clickhouse/embedded.py",
                "            self._store(statements.insert(block.table, file))\n",
                "            self._store(statements.insert(block.table, file).replace(*_token(block)))\n",
            ),
            Edit(
                "sinks/clickhouse/embedded.py",
                "            return self._store(statements.insert_missing(block.table, file))\n",
                "            return self._store(statements.insert(block.table, file).replace(*_token(block)))\n",
            ),
            Edit(
                "sinks/clickhouse/embedded.py",
                "def engine_of(directory: Path | None) -> Any:\n",
                "def _token(block: Block) -> tuple[str, str]:\n"
                '    token = f"{block.topic}-{block.partition}-{block.first}-{block.end}"\n'
                "    given = f\"deduplicate_insert = 'enable', insert_deduplication_token = '{token}'\"\n"
                "    return \"deduplicate_insert = 'disable'\", given\n\n\n"
                "def engine_of(directory: Path | None) -> Any:\n",
            ),
            Edit(
                "sinks/migrations/0001_events.sql",
                _SIGNALS_END,
                _SIGNALS_END.replace("SETTINGS ", "SETTINGS non_replicated_deduplication_window = 1000, "),
            ),
        ),
        tests=(
            "tests/sinks/kafka/test_sink_faults.py::test_sink_killed_at_a_rename_of_a_part_under_load_stores_every_row_once",
        ),
    ),
    Mutant(
        name="no anti-join, for a token is trusted",
        why="The same where a block was stored by half: what a token does not know it inserts again.",
        edits=(
            Edit(
                "sinks/clickhouse/embedded.py",
                "            return self._store(statements.insert_missing(block.table, file))\n",
                "            return self._store(statements.insert(block.table, file))\n",
            ),
        ),
        tests=("tests/sinks/clickhouse/test_embedded.py::test_only_the_missing_rows_are_inserted",),
    ),
    Mutant(
        name="commit without an answer sent again in the same generation",
        why="What a broken connection still held may arrive later, and take back newer commits.",
        edits=(
            Edit(
                "sinks/kafka/consumer.py",
                "            self._session.fail(error)\n"
                '            raise PartitionLost(f"{self.topic}-{self.partition}: '
                'a commit without an answer") from None\n',
                "            raise error\n",
            ),
        ),
        tests=(
            "tests/sinks/kafka/test_consumer.py"
            "::test_commit_without_an_answer_ends_the_session_and_is_not_told_as_one_to_try_again",
        ),
    ),
    Mutant(
        name="unknown taken for failed",
        why="A lost reply says nothing: the rows may be stored, and must not be inserted whole again.",
        edits=(
            Edit(
                "sinks/kafka/block_planner.py",
                "        self.uncertain_to = max(self.uncertain_to, self._block.end)\n",
                "",
            ),
        ),
        tests=(
            "tests/sinks/kafka/test_block_planner.py::test_unknown_outcome_repeats_the_same_range_only_where_missing",
        ),
    ),
    Mutant(
        name="a found intent is forgotten",
        why="Whoever takes over completes the range that its predecessor announced.",
        edits=(
            Edit(
                "sinks/kafka/block_planner.py",
                "        self.uncertain_to = min(intent.uncertain_to, log_end)\n",
                "        self.uncertain_to = self.first\n",
            ),
        ),
        tests=("tests/sinks/kafka/test_block_planner.py",),
    ),
    Mutant(
        name="a refused block is halved without a smaller intent",
        why="Halves are ranges of their own; one that is not announced cannot be completed.",
        edits=(
            Edit(
                "sinks/kafka/block_planner.py",
                "            return self._block is not None and self._block.end == self._intent_end\n"
                "        return self._committed == intent\n",
                "            return self._block is not None and self._block.end == self._intent_end\n"
                "        return self._committed is not None and self._committed.offset == intent.offset\n",
            ),
        ),
        tests=("tests/sinks/kafka/test_block_planner.py::test_refused_block_is_halved_with_a_smaller_intent_first",),
    ),
    Mutant(
        name="range passed before its dead letters are acknowledged",
        why="A record that is set aside has to be somewhere before its offset is given up.",
        edits=(
            Edit(
                "sinks/kafka/block_planner.py",
                "        if not self._block.groups and not self._block.dead_letters:\n",
                "        if not self._block.groups:\n",
            ),
        ),
        tests=(
            "tests/sinks/kafka/test_block_planner.py::"
            "test_dead_letters_leave_before_their_range_is_passed_and_neighbours_are_stored",
        ),
    ),
    Mutant(
        name="a zombie commits under the new generation",
        why="The coordinator does not ask who owns a partition: a late commit would pass for the new owner's intent.",
        edits=(
            Edit(
                "sinks/kafka/consumer.py",
                "        if coordinator.generation != self._generation:\n"
                '            raise PartitionLost(f"{self.topic}-{self.partition}: the group has a new generation")\n',
                "",
            ),
        ),
        tests=("tests/sinks/kafka/test_consumer.py::test_commit_of_an_earlier_generation_is_not_sent",),
    ),
    Mutant(
        name="the engine looks for no end of a datum",
        why="Datums share a block without boundaries: bytes behind one forge a row and eat its neighbour.",
        edits=(Edit("sinks/clickhouse/statements.py", " WHERE throwIf({differs}) = 0", ""),),
        tests=(
            "tests/contract/test_engine_contract.py::"
            "test_what_is_not_exactly_one_datum_is_refused_and_takes_its_block_along[chdb-two at once-last]",
        ),
    ),
    Mutant(
        name="a refused block is halved although a record of it is no datum",
        why="Its reason would be lost, and many of them would halt the sink as a bad deployment does.",
        edits=(
            Edit(
                "sinks/kafka/partition_worker.py",
                "            self._check(rows)\n            raise\n",
                "            raise\n",
            ),
        ),
        tests=("tests/sinks/kafka/test_consumer.py::test_garbage_is_set_aside_and_its_neighbours_are_whole",),
    ),
    Mutant(
        name="what had no answer is tried again unseen",
        why="A datum that the engine dies of would end every life of the sink.",
        edits=(
            Edit(
                "sinks/kafka/partition_worker.py",
                "        self._check(rows)\n        return self._context.engine.insert_missing(block)\n",
                "        return self._context.engine.insert_missing(block)\n",
            ),
        ),
        tests=("tests/sinks/kafka/test_consumer.py::test_datum_that_ends_an_insert_without_an_answer_ends_it_once",),
    ),
    Mutant(
        name="an error text that is no UTF-8 is nobody's",
        why="chdb raises another exception for it: a row's broken value would end the sink, again and again.",
        edits=(
            Edit(
                "sinks/clickhouse/embedded.py",
                "FAILURES = (RuntimeError, UnicodeDecodeError)",
                "FAILURES = (RuntimeError,)",
            ),
        ),
        tests=(
            "tests/sinks/clickhouse/test_embedded.py::"
            "test_a_refused_block_stores_none_of_its_rows_and_names_none_of_their_values[no UTF-8]",
        ),
    ),
    Mutant(
        name="watcher for trailing bytes off at the sink",
        why="The audit judges by it what a sink sets aside, and a refused block is searched with it.",
        edits=(
            Edit(
                "schemas/lengths.py",
                "    if end < len(datum):\n        raise DecodeError(DeadLetterReason.TRAILING_BYTES)\n",
                "",
            ),
        ),
        tests=("tests/sinks/rows/test_tables.py::test_bytes_behind_a_datum_are_no_second_row",),
    ),
    Mutant(
        name="watcher for trailing bytes off at the door",
        why="A record is one datum; what follows it is somebody else's.",
        edits=(
            Edit(
                "schemas/codec.py",
                "    if source.tell() != len(datum):\n        raise DecodeError(DeadLetterReason.TRAILING_BYTES)\n",
                "",
            ),
        ),
        tests=("tests/processors/door/test_records.py::test_record_with_bytes_behind_its_datum_is_set_aside",),
    ),
    Mutant(
        name="a block of two parts",
        why="The engine writes a part whole or not at all; two parts can be stored by half.",
        edits=(
            Edit(
                "sinks/clickhouse/statements.py",
                '"max_insert_block_size": "1000000000"',
                '"max_insert_block_size": "1000"',
            ),
            Edit(
                "sinks/clickhouse/statements.py",
                '"min_insert_block_size_rows": "1000000000"',
                '"min_insert_block_size_rows": "1000"',
            ),
            Edit(
                "sinks/clickhouse/statements.py",
                '"min_insert_block_size_bytes": "1000000000000"',
                '"min_insert_block_size_bytes": "1000"',
            ),
        ),
        tests=("tests/sinks/clickhouse/test_embedded.py::test_a_block_is_one_part_however_large",),
    ),
    Mutant(
        name="a dead letter is told by where it lies now",
        why="One that was sent twice is one by where the record lay before.",
        edits=(
            Edit(
                "sinks/rows/tables.py",
                "    origin = origin_of(record.headers)\n    if",
                "    origin = origin_of(record.headers)\n"
                "    if origin is not None:\n"
                "        origin = Origin(origin.reason, origin.topic, record.partition, record.offset)\n    if",
            ),
        ),
        tests=("tests/sinks/rows/test_tables.py::test_a_dead_letter_is_stored_by_where_it_lay_before",),
    ),
    Mutant(
        name="what is sent or replayed again is a second row",
        why="A row is told by the event as it was sent, never by when or where its record came.",
        edits=(
            Edit(
                "sinks/migrations/0001_events.sql",
                "ENGINE = ReplacingMergeTree(received_at)\nORDER BY (site, session, event_id)\n" + _SIGNALS_END,
                "ENGINE = ReplacingMergeTree(received_at)\nORDER BY (site, session, event_id, received_at)\n"
                + _SIGNALS_END,
            ),
        ),
        tests=("tests/sinks/clickhouse/test_embedded.py::test_of_two_copies_of_an_event_the_one_received_last_stays",),
    ),
    Mutant(
        name="web pages of other sites are answered",
        why="A page times the answers of a port that it cannot read, and so reads what is stored.",
        edits=(
            Edit(
                "schemas/web_pages.py",
                '    if fetch_site not in (None, "same-origin", "none"):\n        return True\n',
                "",
            ),
        ),
        tests=("tests/sinks/http/test_interface.py::test_a_refused_web_page_runs_nothing",),
    ),
    Mutant(
        name="any Origin is answered",
        why="Browsers that send no Sec-Fetch-Site still name the origin of a request that a script made.",
        edits=(
            Edit(
                "schemas/web_pages.py",
                "    if origin is not None and origin.lower() != f\"http://{host or ''}\".lower():\n"
                "        return True\n",
                "",
            ),
        ),
        tests=("tests/schemas/test_web_pages.py::test_only_the_listener_s_own_origin_is_let_through",),
    ),
    Mutant(
        name="any Host is answered",
        why="A page can let its own name resolve to this machine, and is then of one origin with the port.",
        edits=(
            Edit(
                "schemas/web_pages.py",
                '    return hosts is not None and re.sub(r":\\d+\\Z", "", host or "").lower() not in hosts\n',
                "    return False\n",
            ),
        ),
        tests=("tests/schemas/test_web_pages.py::test_a_name_that_was_made_to_resolve_here_is_refused",),
    ),
    Mutant(
        name="every query may take the whole memory of one",
        why="The queries share the sink's process: their bounds must hold in sum.",
        edits=(
            Edit(
                "sinks/http/interface.py",
                "return await self._sent(request, query_id, read, self._light_bytes)",
                "return await self._sent(request, query_id, read, self._large_bytes)",
            ),
        ),
        tests=("tests/sinks/http/test_places.py::test_queries_at_once_never_get_more_than_the_sum",),
    ),
    Mutant(
        name="two queries in the large place",
        why="Each of them may take the whole memory of one.",
        edits=(
            Edit(
                "sinks/http/interface.py",
                "        self._large_place = asyncio.Lock()\n",
                "        self._large_place = asyncio.Semaphore(2)\n",
            ),
        ),
        tests=("tests/sinks/http/test_places.py::test_queries_at_once_never_get_more_than_the_sum",),
    ),
    Mutant(
        name="an answer of any length",
        why="The engine bounds rows, not what a format makes of them: 4 MB of zeros are 72 MB of JSON.",
        edits=(
            Edit(
                "sinks/clickhouse/embedded.py",
                "        while len(body) <= bytes_max and (piece := pipe.read(PIECE_BYTES)):\n",
                "        while piece := pipe.read(PIECE_BYTES):\n",
            ),
            Edit(
                "sinks/clickhouse/embedded.py",
                "        if len(body) > body_bytes_max:\n",
                "        if False:\n",
            ),
        ),
        tests=("tests/sinks/http/test_interface.py::test_an_answer_that_grows_as_it_is_written_is_bounded",),
    ),
    Mutant(
        name="a client that reads nothing keeps its place",
        why="Four such connections would keep everybody out.",
        edits=(
            Edit(
                "sinks/http/interface.py",
                "            async with asyncio.timeout(SEND_SECONDS_MAX):\n",
                "            async with asyncio.timeout(None):\n",
            ),
        ),
        tests=("tests/sinks/http/test_interface.py::test_an_answer_that_nobody_reads_leaves_its_place",),
    ),
    Mutant(
        name="a format writes its schema's file",
        why="The engine makes one in a temporary folder, and shows the path where it may not.",
        edits=(Edit("sinks/http/interface.py", "        check_format(output_format)\n", ""),),
        tests=("tests/sinks/http/test_output_formats.py::test_a_format_that_needs_a_file_is_not_tried",),
    ),
    Mutant(
        name="two queries of one id at once",
        why="A client that asks again after a lost answer would run its query twice.",
        edits=(Edit("sinks/http/interface.py", "        if query_id in self._running:\n", "        if False:\n"),),
        tests=("tests/sinks/http/test_interface.py::test_two_queries_of_one_id_do_not_run_at_once",),
    ),
    Mutant(
        name="aiohttp logs what it could not parse",
        why="The first bytes of a long request are a query, and hold what it looks for.",
        edits=(Edit("sinks/http/interface.py", "        logger=_ServerLog(metrics),\n", ""),),
        tests=("tests/sinks/http/test_interface.py::test_a_malformed_request_is_counted_and_its_bytes_are_in_no_log",),
    ),
    Mutant(
        name="a fetched batch's sum is not looked at",
        why="A bit that a disk turned would become a row.",
        edits=(
            Edit(
                "sinks/kafka/record_consumer.py",
                "        if fetched._check_crcs and not batch.validate_crc():\n",
                "        if False:\n",
            ),
        ),
        tests=("tests/sinks/kafka/test_record_consumer.py::test_batch_that_is_not_what_its_sum_says_is_not_given",),
    ),
    Mutant(
        name="a batch's records from before the place are given",
        why="They are in a block already, and would be planned into another.",
        edits=(
            Edit(
                "sinks/kafka/record_consumer.py",
                "if records and records[0].offset < first:",
                "if False:",
            ),
        ),
        tests=("tests/sinks/kafka/test_record_consumer.py::test_records_are_those_that_aiokafka_gives",),
    ),
    Mutant(
        name="what a transaction took back is given",
        why="It was never written, for whoever reads what is committed.",
        edits=(
            Edit(
                "sinks/kafka/record_consumer.py",
                "if not (taken_back or batch.is_control_batch):",
                "if not batch.is_control_batch:",
            ),
        ),
        tests=("tests/sinks/kafka/test_record_consumer.py::test_records_are_those_that_aiokafka_gives",),
    ),
    Mutant(
        name="a batch's rows from before the place are given",
        why="They are in a block already, and would be planned into another.",
        edits=(
            Edit(
                "sinks/kafka/record_consumer.py", "rows_of(answer[start:end], first,", "rows_of(answer[start:end], 0,"
            ),
        ),
        tests=("tests/sinks/kafka/test_record_consumer.py::test_rows_are_those_of_the_records",),
    ),
    Mutant(
        name="records that came together joined to a block of another schema",
        why="The engine would read their datums by the wrong schema, and refuse them or store other values.",
        edits=(
            Edit(
                "sinks/kafka/block_planner.py",
                " and (self._head_schema is None or self._head_schema is next_one.schema)",
                "",
            ),
        ),
        tests=("tests/sinks/kafka/test_block_planner.py::test_blocks_are_the_same_however_the_records_came_together",),
    ),
    Mutant(
        name="a dead letter's bytes not counted in the head",
        why="What waits would be counted wrong ever after, and reading paused too early or too late.",
        edits=(Edit("sinks/kafka/block_planner.py", "        self._head_bytes += more\n", ""),),
        tests=("tests/sinks/kafka/test_block_planner.py::test_blocks_are_the_same_however_the_records_came_together",),
    ),
)
