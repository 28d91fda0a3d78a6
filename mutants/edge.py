"""Mutants of the edge: what makes an answer of 200 mean something, and a voter mean nobody."""

from mutants.mutant import Edit, Mutant

EDGE = (
    Mutant(
        name="answer before the broker's acknowledgement",
        why="A 200 means that the events are durable; fire-and-forget is the field's oldest complaint.",
        edits=(
            Edit(
                "ingest/kafka/producer.py",
                "            failure = await future\n",
                "            failure = None\n",
            ),
        ),
        tests=("tests/ingest/kafka/test_producer.py::test_produce_does_not_return_while_its_broker_is_silent",),
    ),
    Mutant(
        name="known request answered before the acknowledgement",
        why="A request without a task is answered by whoever settles its batches, and by nobody else.",
        edits=(
            Edit(
                "ingest/collector.py",
                "        if not records:\n            settled(None)\n",
                "        if records:\n            settled(None)\n",
            ),
        ),
        tests=(
            "tests/ingest/http/test_known_heads.py::test_what_comes_meanwhile_is_answered_in_order_and_so_is_an_end",
        ),
    ),
    Mutant(
        name="head known without its key",
        why="What one key was told would be another's answer.",
        edits=(Edit("ingest/http/_split.c", '{"authorization", SAYS}', '{"authorization", NOTHING}'),),
        tests=("tests/ingest/http/test_known_heads.py::test_ordinary_message_is_split",),
    ),
    Mutant(
        name="message whose head came before, whatever its length",
        why="What follows a request would be read as a part of it: another request, with nobody's checks.",
        edits=(Edit("ingest/http/_split.c", " && size - (body - data) == length", ""),),
        tests=("tests/ingest/http/test_known_heads.py::test_what_another_reader_may_take_otherwise_is_for_the_parser",),
    ),
    Mutant(
        name="head known whatever frames its body",
        why="A proxy that reads the chunks, and a collector that reads the length, see two requests where one was.",
        edits=(Edit("ingest/http/_split.c", '{"transfer-encoding", PARSED}', '{"transfer-encoding", NOTHING}'),),
        tests=("tests/ingest/http/test_known_heads.py::test_what_another_reader_may_take_otherwise_is_for_the_parser",),
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
        name="batch that takes records once it was numbered",
        why="Its last records would have the numbers of the next batch's first, which the broker then refuses.",
        edits=(
            Edit(
                "ingest/kafka/batches.py",
                "(producer_id, producer_epoch, base_sequence)\n        self.close()\n",
                "(producer_id, producer_epoch, base_sequence)\n",
            ),
        ),
        tests=("tests/ingest/kafka/test_batches.py::test_batch_that_is_sent_takes_no_more_records",),
    ),
    Mutant(
        name="collector that trusts one copy",
        why="What the last of three brokers acknowledged alone is gone with its disk.",
        edits=(Edit("ingest/kafka/producer.py", "            and self.copies.enough()\n", ""),),
        tests=(
            "tests/ingest/kafka/test_copies.py::test_collector_in_front_of_topics_with_too_few_copies_says_so_and_is_not_ready",
        ),
    ),
    Mutant(
        name="topics that acknowledge with one copy",
        why="The broker is the only one that can refuse what too few have.",
        edits=(Edit("schemas/topics.py", "return max(1, replication_factor - 1)", "return 1"),),
        tests=(
            "tests/ingest/kafka/test_copies.py::test_what_one_broker_of_three_has_is_spooled_and_never_acknowledged",
        ),
    ),
    Mutant(
        name="a client that comes as nobody",
        why="On a broker that asks nobody it works; on one that asks, every role stops.",
        edits=(Edit("schemas/kafka_access.py", ", **self.security}", "}"),),
        tests=("tests/schemas/test_kafka_access.py::test_text_of_an_access_holds_addresses_alone",),
    ),
    Mutant(
        name="a request with a label that is followed",
        why="An id at the door ties what leaves it to a request.",
        edits=(Edit("ingest/following.py", " or any(run.topic == LABELED for run in runs)", ""),),
        tests=(
            "tests/ingest/test_following.py::test_request_with_a_label_is_never_followed_and_moves_no_other_ones_turn",
        ),
    ),
    Mutant(
        name="a rotated key that never ends",
        why="Nobody is there to revoke it when its overlap is over.",
        edits=(Edit("ingest/access/grants.py", " and (not self.ends_at or now_s < self.ends_at)", ""),),
        tests=(
            "tests/ingest/access/test_sites.py::"
            "test_rotated_key_with_an_overlap_ends_by_itself_though_the_file_does_not_change",
        ),
    ),
    Mutant(
        name="collectors that may read labels",
        why="A broken collector would read who voted what; the broker is the one that can refuse it.",
        edits=(
            Edit(
                "unjoin/kafka_rights.py",
                'Right(("Write", "DescribeConfigs"), "topic", EVENTS)',
                'Right(("Read", "Write", "DescribeConfigs"), "topic", EVENTS)',
            ),
        ),
        tests=("tests/unjoin/test_kafka_rights.py",),
    ),
    Mutant(
        name="an alias that hides a path",
        why="A setting must not take the place of what the collector answers already.",
        edits=(Edit("unjoin/settings.py", "    if first_part in OWN_PATHS:\n", "    if False:\n"),),
        tests=("tests/unjoin/test_settings.py",),
    ),
    Mutant(
        name="an alias without an end",
        why="`/m/events` is another path than `/m/e`, and not the collector's to take.",
        edits=(
            Edit(
                "ingest/http/request_line.py",
                'return b"/sdk" + rest if rest[:1] == b"/" or rest.partition(b"?")[0] == b".js" else target',
                'return b"/sdk" + rest',
            ),
        ),
        tests=("tests/ingest/http/test_request_line.py",),
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
        name="any number of strokes kept of a key event",
        why="Whoever counts the strokes that were told with an answer knows its length.",
        edits=(Edit("ingest/encode/records.py", "map(_sampled, events) if kind is Key else events", "events"),),
        tests=(
            "tests/ingest/encode/test_records.py::test_key_event_keeps_sixteen_strokes_and_not_how_many_there_were",
        ),
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
        edits=(
            Edit(
                "ingest/collector.py",
                "        return Encoded(Records(runs), accepted, rejected, implausible_ts, followed)\n",
                "        self.kept = batches  # type: ignore[attr-defined]\n"
                "        return Encoded(Records(runs), accepted, rejected, implausible_ts, followed)\n",
            ),
        ),
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
                "return queues[run.partition]",
                "return queues[0]",
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
        name="announcer that is stopped too early",
        why="A stop that finds nothing to cancel yet would be waited for for 15 seconds, and come to nothing.",
        edits=(
            Edit(
                "unjoin/keys/announcer.py",
                "        while not self._ending.is_set():  # by whoever found nothing to cancel yet\n",
                "        while True:\n",
            ),
        ),
        tests=("tests/unjoin/keys/test_announcer.py::test_announcer_that_is_stopped_before_its_thread_began_ends",),
    ),
    Mutant(
        name="call of another SDK dated by its sending",
        why="`sentAt` is another one on every resend: taken for the event, one call would be as many as its tries.",
        edits=(
            Edit(
                "ingest/decode/segment_event.py",
                '_text(call, "timestamp" if "timestamp" in call else "originalTimestamp", "timestamp")',
                '_text(call, "sentAt" if "sentAt" in call else "timestamp", "timestamp")',
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
    Mutant(
        name="rejection that names a client's own field",
        why="An answer may be logged where the event must not be; `field` is a closed list.",
        edits=(
            Edit(
                "ingest/decode/event.py",
                "    return field if isinstance(tag, str) and field in _KNOWN.get(tag, ()) else None\n",
                "    return field if isinstance(tag, str) else None\n",
            ),
        ),
        tests=("tests/ingest/decode/test_flaws.py::test_rejection_names_the_field_and_the_bound",),
    ),
    Mutant(
        name="arrays and objects of a body without a bound",
        why="Each is an object of Python at a hundred times the cost of its bytes, and the event loop waits for all.",
        edits=(
            Edit(
                "ingest/decode/envelope.py",
                'body.count(b"[") + body.count(b"{") > CONTAINERS_MAX:',
                "False:",
            ),
        ),
        tests=("tests/ingest/decode/test_work.py::test_body_holds_no_more_arrays_and_objects_than_its_bound",),
    ),
    Mutant(
        name="members of a gzip without a bound",
        why="A mebibyte holds fifty thousand empty ones; each costs a decompressor and adds not a byte to any limit.",
        edits=(Edit("ingest/http/codings.py", "if self._members == MEMBERS_MAX:", "if self._members < 0:"),),
        tests=("tests/ingest/http/test_codings.py::test_members_are_counted_for_each_costs_a_decompressor",),
    ),
    Mutant(
        name="gzip and zstd unpacked without a bound",
        why="A body of a mebibyte may say that it is gigabytes.",
        edits=(
            Edit(
                "ingest/http/codings.py",
                "output += self._member.decompress(chunk, output_bytes_max - len(output))",
                "output += self._member.decompress(chunk)",
            ),
        ),
        tests=("tests/ingest/http/test_codings.py::test_bomb_costs_what_the_limit_allows",),
    ),
    Mutant(
        name="one quota for all clients behind a proxy",
        why="A proxy that does not say whose request it is would be refused for all of them.",
        edits=(
            Edit(
                "ingest/http/client_address.py",
                "    if found is None or _within(found, trusted):\n        return None\n    return hash(",
                "    if found is None:\n        return None\n    return hash(",
            ),
        ),
        tests=("tests/ingest/access/test_quotas.py::test_client_whose_address_is_hidden_has_no_quota_of_its_own",),
    ),
    Mutant(
        name="offer to upgrade that ends the message",
        why="The body of a request would be read as the next one: requests smuggled past a proxy.",
        edits=(
            Edit(
                "ingest/http/protocol.py",
                '[b"%b: %b\\r\\n" % field for field in self.headers if field[0] != b"upgrade"]',
                '[b"%b: %b\\r\\n" % field for field in self.headers if field[0] != b"content-length"]',
            ),
        ),
        tests=(
            "tests/ingest/http/test_wire.py::"
            "test_valid_request_is_read_by_its_framing_and_leaves_the_connection_in_step",
        ),
    ),
    Mutant(
        name="trailers taken for headers",
        why="A proxy checks headers: an address or a key in a trailer would come past it.",
        edits=(Edit("ingest/http/protocol.py", "        if not self._in_head:\n            return\n", ""),),
        tests=(
            "tests/ingest/http/test_wire.py::"
            "test_valid_request_is_read_by_its_framing_and_leaves_the_connection_in_step",
        ),
    ),
    Mutant(
        name="refusal that overtakes the answers before it",
        why="Stored events whose answer is lost are sent again, or believed lost.",
        edits=(
            Edit(
                "ingest/http/protocol.py",
                "        if not under_way:\n            self._end()\n",
                "        self._end()\n",
            ),
        ),
        tests=("tests/ingest/http/test_wire.py::test_malformed_body_is_refused_in_its_turn",),
    ),
    Mutant(
        name="HEAD answered with a body",
        why="A proxy would take the body for the next client's answer.",
        edits=(Edit("ingest/http/fast_path.py", "return head if head_only else head", "return head"),),
        tests=("tests/ingest/http/test_wire.py::test_answer_to_a_head_is_a_head",),
    ),
    Mutant(
        name="bodies of the unknown in the room of the known",
        why="Anyone could fill it with bodies that never end, and every honest one would be a 503.",
        edits=(
            Edit(
                "ingest/collector.py",
                "room = edge.body_room if grant else edge.keyless_room",
                "room = edge.body_room",
            ),
            Edit("ingest/collector.py", "grant.quota_name if grant else KEYLESS, address_mark(address)", "KEYLESS, 0"),
        ),
        tests=("tests/ingest/http/test_body_room.py::test_slow_keyless_bodies_take_nothing_from_others",),
    ),
    Mutant(
        name="development keys for whoever connects",
        why="They are in every copy of the source.",
        edits=(Edit("ingest/collector.py", "        if grant.development and not (", "        if False and not ("),),
        tests=(
            "tests/ingest/process/test_server.py::test_development_keys_are_refused_where_other_machines_can_connect",
            "tests/ingest/test_collector.py::test_development_key_that_a_proxy_passes_on_for_another_machine_is_a_401",
        ),
    ),
    Mutant(
        name="a browser's no that counts for nothing",
        why="Global Privacy Control is the word of a visitor, and law in some places.",
        edits=(
            Edit(
                "ingest/access/consent.py",
                'return RejectionReason.GPC if gpc and category == "analytics" else None',
                "return None",
            ),
        ),
        tests=("tests/ingest/access/test_consent.py::test_every_rule_meets_every_word",),
    ),
    Mutant(
        name="a no to one call taken for all of a batch, or for none",
        why="A server posts many visitors' calls at once.",
        edits=(
            Edit(
                "ingest/access/consent.py",
                "batch.consent_of.get(index, batch.consent) or _NOBODY_ASKED",
                "batch.consent or _NOBODY_ASKED",
            ),
        ),
        tests=("tests/ingest/access/test_consent.py::test_each_call_of_a_batch_keeps_its_own_word",),
    ),
    Mutant(
        name="an address erased in the case it was asked in alone",
        why="Nobody who asks to be gone knows how they typed themselves in years ago.",
        edits=(Edit("schemas/subjects/canonical.py", "text.lower() if text.isascii()", "text if text.isascii()"),),
        tests=("tests/schemas/subjects/test_selectors.py::test_an_address_is_one_however_its_case_is_written",),
    ),
    Mutant(
        name="a search that is blind at the seams of what it reads",
        why="It would prove that somebody is gone who is not.",
        edits=(
            Edit(
                "unjoin/subjects/search/needles.py",
                "        data = self._tail + piece\n",
                "        data = piece\n",
            ),
        ),
        tests=("tests/unjoin/subjects/search/test_search.py::test_no_seam_hides_a_text_or_doubles_it",),
    ),
)
