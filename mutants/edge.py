"""Mutants of the edge: what makes an answer of 200 mean something, and a voter mean nobody."""

from mutants.mutant import Edit, Mutant

EDGE = (
    Mutant(
        name="answer before the broker's acknowledgement",
        why="A 200 means that the events are durable; fire-and-forget is the field's oldest complaint.",
        edits=(
            Edit(
                "ingest/kafka/producer.py",
                "            failure = await waiter.future\n",
                "            failure = None\n",
            ),
        ),
        tests=("tests/ingest/kafka/test_producer.py::test_produce_does_not_return_while_its_broker_is_silent",),
    ),
    Mutant(
        name="producer without idempotence",
        why="A request that is sent again by the client library must not store a batch twice.",
        edits=(Edit("ingest/kafka/aiokafka_client.py", "enable_idempotence=True", "enable_idempotence=False"),),
        tests=("tests/ingest/kafka/test_aiokafka_client.py::test_batches_are_idempotent_and_wait_for_every_replica",),
    ),
    Mutant(
        name="producer with acks=1",
        why="Acknowledged means by all in-sync replicas; one replica cannot show the difference, the request can.",
        edits=(
            Edit(
                "ingest/kafka/aiokafka_client.py",
                '            enable_idempotence=True,\n            acks="all",\n',
                "            enable_idempotence=False,\n            acks=1,\n",
            ),
        ),
        tests=("tests/ingest/kafka/test_aiokafka_client.py::test_batches_are_idempotent_and_wait_for_every_replica",),
    ),
    Mutant(
        name="no fsync in the spool",
        why="A spooled event is answered with 200, so it has to outlive the machine's sudden end.",
        edits=(Edit("ingest/spool/file.py", '"synchronous = FULL"', '"synchronous = OFF"'),),
        tests=("tests/ingest/spool/test_writer.py::test_answer_comes_only_after_the_log_was_synced",),
    ),
    Mutant(
        name="spool answers before it wrote",
        why="The same, one step further: nothing at all is on disk when the 200 is sent.",
        edits=(
            Edit(
                "ingest/spool/writer.py",
                "                await asyncio.shield(job.future)\n        except TimeoutError:\n",
                "                await asyncio.sleep(0)\n        except TimeoutError:\n",
            ),
        ),
        tests=(
            "tests/ingest/spool/test_writer.py::test_answer_comes_only_after_the_log_was_synced",
            "tests/contract/test_spool_contract.py",
        ),
    ),
    Mutant(
        name="spool's deadline that assumes a default of Kafka's",
        why="An operator who gives Kafka two seconds would be told that the disk failed, though the batch was written.",
        edits=(
            Edit(
                "ingest/spool/producer.py",
                "self._answer_seconds_max = produce_seconds_max + SPOOL_SECONDS_MAX",
                "self._answer_seconds_max = 1.0 + SPOOL_SECONDS_MAX",
            ),
        ),
        tests=("tests/ingest/spool/test_producer.py::test_silent_kafka_leaves_the_disk_its_share_of_the_answer",),
    ),
    Mutant(
        name="turns granted without measuring them",
        why="All that wait would run in one round of the loop, before anything is read, refused or acknowledged.",
        edits=(
            Edit(
                "ingest/overload/scheduler.py",
                "            waiting.grant()\n",
                "            waiting.set_result(None)\n",
            ),
        ),
        tests=("tests/ingest/overload/test_scheduler.py::test_round_of_the_loop_works_no_longer_than_its_time",),
    ),
    Mutant(
        name="events kept while their records wait for Kafka",
        why="A slow Kafka would hold the decoded events of all requests that wait, and their memory.",
        edits=(Edit("ingest/collector.py", "            del body, batches", "            del body"),),
        tests=("tests/ingest/test_collector.py::test_events_are_freed_before_their_records_wait_for_kafka",),
    ),
    Mutant(
        name="spool drained out of order",
        why="A session is a sequence; what waited must arrive as it was sent.",
        edits=(Edit("ingest/spool/file.py", 'WHERE seq > ? ORDER BY seq"', 'WHERE seq > ? ORDER BY seq DESC"'),),
        tests=(
            "tests/ingest/spool/test_file.py::test_packs_come_back_in_the_order_they_were_written_within_the_bounds",
        ),
    ),
    Mutant(
        name="spool deletes before Kafka acknowledged",
        why="Between the two the event would be nowhere.",
        edits=(
            Edit(
                "ingest/spool/producer.py",
                "        try:\n            await self._send([record for",
                "        await self._delete(entries)\n        try:\n            await self._send([record for",
            ),
        ),
        tests=(
            "tests/ingest/spool/test_producer.py::"
            "test_what_is_on_its_way_to_kafka_stays_in_the_spool_until_it_is_acknowledged",
        ),
    ),
    Mutant(
        name="spool without checksums",
        why="A rotten pack must be set aside, never produced as if somebody had sent it.",
        edits=(
            Edit(
                "ingest/spool/file.py",
                "found = records_in(Pack(expires_ms, count, data), checksum)",
                "found = records_in(pack := Pack(expires_ms, count, data), pack.checksum)",
            ),
        ),
        tests=(
            "tests/ingest/spool/test_file.py::"
            "test_rotten_pack_is_set_aside_and_counted_and_its_neighbours_come_through",
        ),
    ),
    Mutant(
        name="label outlives its topic in the spool",
        why="An identified label lives for hours; an outage must not make days of them.",
        edits=(
            Edit(
                "ingest/spool/writer.py",
                "by_life.setdefault(self._config.lives_ms.get(record.topic), [])",
                "by_life.setdefault(None, [])",
            ),
        ),
        tests=(
            "tests/contract/test_spool_contract.py::test_labels_live_no_longer_than_on_their_topic_and_the_rest_stays",
        ),
    ),
    Mutant(
        name="voter without the day",
        why="A voter that stays the same from day to day could be followed for ever.",
        edits=(
            Edit(
                "ingest/encode/records.py",
                "            edge_key = self._edge_keys(day)\n",
                "            edge_key = self._edge_keys(_EPOCH)\n",
            ),
        ),
        tests=(
            "tests/ingest/encode/test_records.py::test_answer_holds_voter_task_answer_kind_day_and_nothing_else",
            "tests/ingest/encode/test_records.py::test_verdict_judges_its_session_on_its_day_and_the_day_before",
        ),
    ),
    Mutant(
        name="label stamped with its exact time",
        why="The millisecond at which a label came joins it with the session's other events.",
        edits=(
            Edit(
                "ingest/encode/records.py",
                "        timestamp_ms = (day - _EPOCH).days * DAY_MS\n",
                "        timestamp_ms = self._sender.received_at_ms\n",
            ),
        ),
        tests=("tests/ingest/encode/test_records.py::test_answer_holds_voter_task_answer_kind_day_and_nothing_else",),
    ),
    Mutant(
        name="labels that are not sealed",
        why="Whoever has the edge's key and reads the topic would join every label on it to its session.",
        edits=(
            Edit(
                "ingest/encode/records.py",
                "run.values.append(self._seals.sealed(content, day, partition))",
                "run.values.append(content)",
            ),
        ),
        tests=("tests/ingest/encode/test_records.py::test_answer_holds_voter_task_answer_kind_day_and_nothing_else",),
    ),
    Mutant(
        name="labels keyed by their voter",
        why="The pseudonym beside the ciphertext says which labels are of one session, and with the edge's key whose.",
        edits=(
            Edit(
                "ingest/encode/records.py",
                "Run(LABELED, None, timestamp_ms, [], partition)",
                "Run(LABELED, voter, timestamp_ms, [], partition)",
            ),
        ),
        tests=("tests/ingest/encode/test_records.py::test_answer_holds_voter_task_answer_kind_day_and_nothing_else",),
    ),
    Mutant(
        name="sealed labels of every length",
        why="An answer's length is a way to know it again.",
        edits=(
            Edit(
                "schemas/seal.py",
                'encrypt(number.to_bytes(NONCE_BYTES, "big"), padded(label), place)',
                'encrypt(number.to_bytes(NONCE_BYTES, "big"), padded(label).rstrip(b"\\0"), place)',
            ),
        ),
        tests=("tests/ingest/encode/test_records.py::test_length_of_a_sealed_answer_tells_only_its_size_class",),
    ),
    Mutant(
        name="labels sealed to a key that was in force once",
        why="A door that is replaced announces another key; nobody could read what is sealed to the old one.",
        edits=(
            Edit(
                "ingest/encode/seals.py",
                "        of = day, self._door_keys(day)\n",
                "        of = next((one for one in self._sealers), (day, self._door_keys(day)))\n",
            ),
        ),
        tests=("tests/ingest/encode/test_records.py::test_label_is_sealed_to_the_key_that_is_in_force_now",),
    ),
    Mutant(
        name="record on any partition where its own is missing",
        why="A label is sealed to its partition: anywhere else it opens for nobody, though it was acknowledged.",
        edits=(
            Edit(
                "ingest/kafka/producer.py",
                "queue = queues[run.partition]",
                "queue = queues[0]",
            ),
        ),
        tests=("tests/contract/test_producer_contract.py::test_record_with_a_partition_lies_there_or_is_not_durable",),
    ),
    Mutant(
        name="spool that forgets a record's partition",
        why="What an outage held would be acknowledged, drained, and open for nobody.",
        edits=(
            Edit(
                "ingest/spool/packs.py",
                "        if record.partition is None\n",
                "        if True\n",
            ),
        ),
        tests=("tests/ingest/spool/test_file.py::test_pack_keeps_the_partition_of_its_records",),
    ),
    Mutant(
        name="door's identity that is not compared",
        why="Whoever may write to the topic of announcements could have labels sealed to a key of their own.",
        edits=(
            Edit(
                "unjoin/keys/announcement.py",
                "    if door_identity and identity_fingerprint(identity) != door_identity:\n",
                "    if False:\n",
            ),
        ),
        tests=("tests/unjoin/keys/test_announcement.py",),
    ),
    Mutant(
        name="fingerprints that are not compared",
        why="Two collectors with keys of their own make two voters of one session, silently.",
        edits=(
            Edit(
                "unjoin/keys/announcer.py",
                "        if own != in_force.fingerprint:\n",
                "        if False:\n",
            ),
        ),
        tests=("tests/unjoin/keys/test_announcer.py::test_second_host_with_another_key_of_the_day_is_refused",),
    ),
    Mutant(
        name="call of another SDK dated by its sending",
        why="`sentAt` is another one on every resend: taken for the event, one call would be as many as its tries.",
        edits=(
            Edit(
                "ingest/decode/segment_event.py",
                '_text(call, "timestamp" if "timestamp" in call else "originalTimestamp")',
                '_text(call, "sentAt" if "sentAt" in call else "timestamp")',
            ),
        ),
        tests=("tests/ingest/decode/test_segment.py::test_send_again_under_another_sent_at_is_the_same_event",),
    ),
    Mutant(
        name="unclassified members of a call dropped silently",
        why="An unclassified field counts as an identifier, and its caller would believe it stored.",
        edits=(
            Edit(
                "ingest/decode/segment_event.py",
                "    if not call.keys() <= _KNOWN[kind]:\n",
                "    if False:\n",
            ),
        ),
        tests=("tests/ingest/decode/test_segment.py::test_call_that_is_no_event_of_ours_is_rejected_with_a_reason",),
    ),
    Mutant(
        name="answers of any length",
        why="Masking costs the door time by the byte, and whoever has a public key chooses the answers.",
        edits=(Edit("ingest/decode/event.py", "    if type(event) in _LABELS:\n", "    if False:\n"),),
        tests=("tests/ingest/decode/test_batch.py::test_answer_is_bounded_in_bytes_of_utf_8",),
    ),
)
