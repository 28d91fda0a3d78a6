-- What detectors of bots compute of a session's signals; docs/features.md says what each is good for.
--
-- A view, not a table: a row that a client sent twice would count twice in what is computed as rows come, and a copy
-- would outlive an erasure and the retention of `signals`. Never joined with labels: nothing could join them.
--
-- A *step* is from a sample to the next one of the same event. It counts where it lasts 0.1 to under 250 ms and is at
-- most 100,000 pixels long, and nowhere else: so whatever a client sends, every number is finite. Where nothing counts,
-- a number is NULL. Percentiles are exact, linear between neighbours (Hyndman and Fan's type 7, numpy's default), of the
-- first 100,000 values of a session: one that sends without end must not take the memory of all. Rows are read in the
-- order of the key, a session at a time, so that memory does not grow with the number of sessions; in small blocks, for of
-- each part that nothing has merged one is in memory, samples and all; in nested SELECTs, because an alias that others use
-- is analysed anew for each use.

CREATE VIEW IF NOT EXISTS unjoin.session_features AS
WITH
    value -> if(isFinite(value), value, NULL) AS finite,
    all_told -> arrayReduce('quantilesExactInclusive(0.1, 0.5, 0.9)', all_told) AS percentiles,
    arrayReduce('quantilesExactInclusive(0.5, 1)', arrayPopFront(arrayDifference(arraySort(times)))) AS gaps
SELECT
    site,
    session,
    first_at,
    last_at,
    events,
    pointer_events,
    touch_events,
    scroll_events,
    key_events,
    gyroscope_events,
    accelerometer_events,
    finite(gaps[1] / 1000) AS gap_s_q50,
    finite(gaps[2] / 1000) AS gap_s_max,
    hand_samples,
    hand_movements,
    finite(hand_runs_from_zero / hand_runs) AS hand_from_zero_share,
    finite(hand_whole_places / hand_samples) AS hand_whole_share,
    finite(hand_still_steps / hand_steps) AS hand_still_share,
    hand_path_px,
    finite(percentiles(hand_intervals)[1]) AS hand_interval_ms_q10,
    finite(percentiles(hand_intervals)[2]) AS hand_interval_ms_q50,
    finite(percentiles(hand_intervals)[3]) AS hand_interval_ms_q90,
    hand_pauses,
    finite(percentiles(hand_pause_times)[2]) AS hand_pause_ms_q50,
    finite(percentiles(hand_pause_times)[3]) AS hand_pause_ms_q90,
    finite(percentiles(hand_speeds)[1]) AS hand_speed_px_s_q10,
    finite(percentiles(hand_speeds)[2]) AS hand_speed_px_s_q50,
    finite(percentiles(hand_speeds)[3]) AS hand_speed_px_s_q90,
    finite(percentiles(hand_accelerations)[1]) AS hand_acceleration_px_s2_q10,
    finite(percentiles(hand_accelerations)[2]) AS hand_acceleration_px_s2_q50,
    finite(percentiles(hand_accelerations)[3]) AS hand_acceleration_px_s2_q90,
    finite(percentiles(hand_jerks)[1]) AS hand_jerk_px_s3_q10,
    finite(percentiles(hand_jerks)[2]) AS hand_jerk_px_s3_q50,
    finite(percentiles(hand_jerks)[3]) AS hand_jerk_px_s3_q90,
    finite(percentiles(hand_turns)[1]) AS hand_turn_rad_q10,
    finite(percentiles(hand_turns)[2]) AS hand_turn_rad_q50,
    finite(percentiles(hand_turns)[3]) AS hand_turn_rad_q90,
    finite(hand_straight_turns / hand_turns_told) AS hand_straight_share,
    finite(percentiles(hand_straightness)[1]) AS hand_straightness_q10,
    finite(percentiles(hand_straightness)[2]) AS hand_straightness_q50,
    finite(percentiles(hand_straightness)[3]) AS hand_straightness_q90,
    finite(percentiles(hand_speed_variation)[1]) AS hand_speed_variation_q10,
    finite(percentiles(hand_speed_variation)[2]) AS hand_speed_variation_q50,
    finite(percentiles(hand_speed_variation)[3]) AS hand_speed_variation_q90,
    finite(percentiles(hand_peak_time)[1]) AS hand_peak_time_q10,
    finite(percentiles(hand_peak_time)[2]) AS hand_peak_time_q50,
    finite(percentiles(hand_peak_time)[3]) AS hand_peak_time_q90,
    finite(percentiles(hand_jerk_cost)[1]) AS hand_jerk_cost_q10,
    finite(percentiles(hand_jerk_cost)[2]) AS hand_jerk_cost_q50,
    finite(percentiles(hand_jerk_cost)[3]) AS hand_jerk_cost_q90,
    finite(percentiles(touch_forces)[1]) AS touch_force_q10,
    finite(percentiles(touch_forces)[2]) AS touch_force_q50,
    finite(percentiles(touch_forces)[3]) AS touch_force_q90,
    scroll_path_px,
    finite(percentiles(scroll_speeds)[1]) AS scroll_speed_px_s_q10,
    finite(percentiles(scroll_speeds)[2]) AS scroll_speed_px_s_q50,
    finite(percentiles(scroll_speeds)[3]) AS scroll_speed_px_s_q90,
    finite(percentiles(scroll_intervals)[2]) AS scroll_interval_ms_q50,
    finite(percentiles(scroll_intervals)[3]) AS scroll_interval_ms_q90,
    finite(scroll_reversals / scroll_pairs) AS scroll_reversal_share,
    key_strokes,
    finite(percentiles(key_dwells)[1]) AS key_dwell_ms_q10,
    finite(percentiles(key_dwells)[2]) AS key_dwell_ms_q50,
    finite(percentiles(key_dwells)[3]) AS key_dwell_ms_q90,
    finite(percentiles(key_flights)[1]) AS key_flight_ms_q10,
    finite(percentiles(key_flights)[2]) AS key_flight_ms_q50,
    finite(percentiles(key_flights)[3]) AS key_flight_ms_q90,
    finite(percentiles(key_presses)[1]) AS key_press_ms_q10,
    finite(percentiles(key_presses)[2]) AS key_press_ms_q50,
    finite(percentiles(key_presses)[3]) AS key_press_ms_q90,
    finite(key_dwell_spread / key_dwell_mean) AS key_dwell_variation,
    finite(key_press_spread / key_press_mean) AS key_press_variation,
    finite(key_rollovers / key_flights_told) AS key_rollover_share,
    gyroscope_samples,
    finite(percentiles(gyroscope_rates)[2]) AS gyroscope_deg_s_q50,
    finite(percentiles(gyroscope_rates)[3]) AS gyroscope_deg_s_q90,
    finite(gyroscope_energy) AS gyroscope_energy_deg2_s2,
    accelerometer_samples,
    finite(percentiles(accelerometer_norms)[2]) AS accelerometer_m_s2_q50,
    finite(percentiles(accelerometer_norms)[3]) AS accelerometer_m_s2_q90,
    finite(accelerometer_energy) AS accelerometer_energy_m2_s4
FROM
(
    SELECT
        site,
        session,
        min(at) AS first_at,
        max(at) AS last_at,
        count() AS events,
        countIf(type = 'pointer') AS pointer_events,
        countIf(type = 'touch') AS touch_events,
        countIf(type = 'scroll') AS scroll_events,
        countIf(type = 'key') AS key_events,
        countIf(type = 'gyroscope') AS gyroscope_events,
        countIf(type = 'accelerometer') AS accelerometer_events,
        groupArray(100000)(toUnixTimestamp64Milli(at)) AS times,
        sumIf(length(t), is_hand) AS hand_samples,
        sumIf(length(moves), is_hand) AS hand_movements,
        sumIf(length(run_starts), is_hand) AS hand_runs,
        sumIf(arrayCount(place -> place = (0, 0), run_starts), is_hand) AS hand_runs_from_zero,
        sumIf(arrayCount((across, down) -> across = floor(across) AND down = floor(down), path_x, path_y), is_hand)
            AS hand_whole_places,
        sumIf(length(speeds), is_hand) AS hand_steps,
        sumIf(arrayCount(speed -> speed = 0, speeds), is_hand) AS hand_still_steps,
        sumIf(arraySum(told_lengths), is_hand) AS hand_path_px,
        groupArrayArrayIf(100000)(intervals, is_hand) AS hand_intervals,
        sumIf(length(pauses), is_hand) AS hand_pauses,
        groupArrayArrayIf(100000)(pauses, is_hand) AS hand_pause_times,
        groupArrayArrayIf(100000)(speeds, is_hand) AS hand_speeds,
        groupArrayArray(100000)(accelerations) AS hand_accelerations,
        groupArrayArray(100000)(jerks) AS hand_jerks,
        groupArrayArray(100000)(turns) AS hand_turns,
        sum(length(turns)) AS hand_turns_told,
        sum(arrayCount(turn -> turn < 0.02, turns)) AS hand_straight_turns,
        groupArrayArray(100000)(moves.straightness) AS hand_straightness,
        groupArrayArray(100000)(moves.speed_variation) AS hand_speed_variation,
        groupArrayArray(100000)(moves.peak_time) AS hand_peak_time,
        groupArrayArray(100000)(moves.jerk_cost) AS hand_jerk_cost,
        groupArrayArray(100000)(forces) AS touch_forces,
        sumIf(arraySum(told_lengths), is_scroll) AS scroll_path_px,
        groupArrayArrayIf(100000)(speeds, is_scroll) AS scroll_speeds,
        groupArrayArrayIf(100000)(intervals, is_scroll) AS scroll_intervals,
        sum(length(vertical_pairs)) AS scroll_pairs,
        sum(arrayCount(product -> product < 0, vertical_pairs)) AS scroll_reversals,
        sumIf(length(t), is_key) AS key_strokes,
        groupArrayArray(100000)(dwells) AS key_dwells,
        groupArrayArray(100000)(flights) AS key_flights,
        groupArrayArray(100000)(presses) AS key_presses,
        avgArray(dwells) AS key_dwell_mean,
        stddevPopStableArray(dwells) AS key_dwell_spread,
        avgArray(presses) AS key_press_mean,
        stddevPopStableArray(presses) AS key_press_spread,
        sum(length(flights)) AS key_flights_told,
        sum(arrayCount(flight -> flight < 0, flights)) AS key_rollovers,
        sumIf(length(t), is_motion AND type = 'gyroscope') AS gyroscope_samples,
        groupArrayArrayIf(100000)(norms, type = 'gyroscope') AS gyroscope_rates,
        avgArrayIf(arrayMap(norm -> norm * norm, norms), type = 'gyroscope') AS gyroscope_energy,
        sumIf(length(t), is_motion AND type = 'accelerometer') AS accelerometer_samples,
        groupArrayArrayIf(100000)(norms, type = 'accelerometer') AS accelerometer_norms,
        varPopStableArrayIf(norms, type = 'accelerometer') AS accelerometer_energy
    FROM
    (
        SELECT
            *,
            arrayFilter((ms, is_step) -> is_step, steps_ms, counts) AS intervals,
            arrayFilter((px, is_step) -> is_step, lengths, counts) AS told_lengths,
            arrayFilter(ms -> ms >= 250 AND ms <= 3600000, steps_ms) AS pauses,
            arrayFilter(value -> isFinite(value), speed) AS speeds,
            arrayFilter(
                (_, is_start) -> is_start,
                arrayZip(path_x, path_y),
                arrayResize(arrayPushFront(arrayMap(is_step -> NOT is_step, counts), 1), length(path_x))
            ) AS run_starts,

            -- Of hands. The angle between two steps on end that count and have a length.
            arrayFilter(value -> isFinite(value), acceleration) AS accelerations,
            arrayMap(value -> abs(value), arrayFilter(value -> isFinite(value), jerk)) AS jerks,
            arrayFilter(
                (angle, before, after) -> is_hand AND before > 0 AND isFinite(before) AND after > 0 AND isFinite(after),
                arrayMap(
                    (x0, x1, y0, y1) -> abs(atan2(x0 * y1 - x1 * y0, x0 * x1 + y0 * y1)),
                    arrayPopBack(across), arrayPopFront(across), arrayPopBack(down), arrayPopFront(down)
                ),
                arrayPopBack(speed), arrayPopFront(speed)
            ) AS turns,
            arrayMap(
                move -> CAST(
                    (
                        least(1, hypot(arraySum(move.1), arraySum(move.2)) / arraySum(move.4)),
                        arrayReduce('stddevPopStable', move.5) / arrayAvg(move.5),
                        (
                            arraySum(arraySlice(move.3, 1, indexOf(move.5, arrayMax(move.5))))
                            - move.3[indexOf(move.5, arrayMax(move.5))] / 2
                        ) / arraySum(move.3),
                        pow(arraySum(move.3) / 1000, 3) * arraySum(
                            (value, ms) -> if(isFinite(value), pow(value / arrayMax(move.5), 2) * ms / 1000, 0),
                            move.6, move.3
                        )
                    ),
                    'Tuple(straightness Float64, speed_variation Float64, peak_time Float64, jerk_cost Float64)'
                ),
                whole_moves
            ) AS moves,
            arrayFilter(force -> force >= 0 AND force <= 1, if(type = 'touch', force, [])) AS forces,

            -- Of scrolling: products of two steps on end that go up or down, negative where they turn.
            arrayFilter(
                product -> product != 0,
                arrayMap(
                    (before, after, is_first, is_second) -> if(is_scroll AND is_first AND is_second, before * after, 0),
                    arrayPopBack(down), arrayPopFront(down), arrayPopBack(counts), arrayPopFront(counts)
                )
            ) AS vertical_pairs,

            -- Of keys.
            arrayFilter(ms -> ms >= 0 AND ms <= 10000, arrayMap((from, until) -> until - from, downs, ups)) AS dwells,
            arrayFilter(ms -> ms >= 0 AND ms <= 5000, downs_apart) AS presses,
            arrayFilter(
                (ms, apart) -> apart >= 0 AND apart <= 5000 AND abs(ms) <= 5000,
                arrayMap((up, next_down) -> next_down - up, arrayPopBack(ups), arrayPopFront(downs)),
                downs_apart
            ) AS flights,

            -- Of what moves with a hand.
            arrayFilter(
                norm -> norm <= 10000,
                arrayMap(
                    (along, across_it, up) -> hypot(hypot(along, across_it), up),
                    if(is_motion, x, []), if(is_motion, y, []), if(is_motion, z, [])
                )
            ) AS norms
        FROM
        (
            -- Of hands, from step to step; and movements, which are steps on end that count. A jerk belongs to the middle
            -- one of its three steps, so that a movement's first and last step have none.
            SELECT
                *,
                arrayMap(
                    (before, after, ms) -> 1000 * (after - before) / ms,
                    arrayPopBack(acceleration), arrayPopFront(acceleration), arrayPopBack(arrayPopFront(hand_ms))
                ) AS jerk,
                arraySplit(
                    (step, is_step) -> NOT is_step,
                    arrayZip(
                        across, down, steps_ms, lengths, speed,
                        arrayResize(arrayPushFront(jerk, nan), length(speed), nan)
                    ),
                    counts
                ) AS runs,
                arrayFilter(
                    move -> is_hand AND length(move) >= 3 AND arraySum(move.4) >= 1,
                    arrayMap(run -> arrayFilter(step -> isFinite(step.5), run), runs)
                ) AS whole_moves
            FROM
            (
                SELECT
                    *,
                    if(is_hand, speed, []) AS hand_speed,
                    if(is_hand, steps_ms, []) AS hand_ms,
                    arrayMap(
                        (before, after, ms_before, ms_after) -> 2000 * (after - before) / (ms_before + ms_after),
                        arrayPopBack(hand_speed), arrayPopFront(hand_speed),
                        arrayPopBack(hand_ms), arrayPopFront(hand_ms)
                    ) AS acceleration
                FROM
                (
                    -- Steps: one fewer than samples; a speed is NaN where a step does not count.
                    SELECT
                        *,
                        arrayPopFront(arrayDifference(if(is_hand OR is_scroll, t, []))) AS steps_ms,
                        arrayPopFront(arrayDifference(path_x)) AS across,
                        arrayPopFront(arrayDifference(path_y)) AS down,
                        arrayPopFront(arrayDifference(downs)) AS downs_apart,
                        arrayMap((dx, dy) -> hypot(dx, dy), across, down) AS lengths,
                        arrayMap((ms, px) -> ms >= 0.1 AND ms < 250 AND px <= 100000, steps_ms, lengths) AS counts,
                        arrayMap((ms, px, is_step) -> if(is_step, 1000 * px / ms, nan), steps_ms, lengths, counts)
                            AS speed
                    FROM
                    (
                        SELECT
                            site, session, type, at, t, x, y, z, force,
                            length(x) = length(t) AND length(y) = length(t) AS has_places,
                            has_places AND type IN ('pointer', 'touch') AS is_hand,
                            has_places AND type = 'scroll' AS is_scroll,
                            has_places AND length(z) = length(t) AND type IN ('gyroscope', 'accelerometer') AS is_motion,
                            length(t_up) = length(t) AND type = 'key' AS is_key,
                            if(is_hand OR is_scroll, x, []) AS path_x,
                            if(is_hand OR is_scroll, y, []) AS path_y,
                            if(is_key, t, []) AS downs,
                            if(is_key, t_up, []) AS ups
                        FROM unjoin.signals FINAL
                    )
                )
            )
        )
    )
    GROUP BY site, session
    SETTINGS optimize_aggregation_in_order = 1, max_block_size = 2048
);
