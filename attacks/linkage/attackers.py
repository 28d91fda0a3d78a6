"""The attacks. Each gets what its adversary holds, and guesses whose every label is.

At rest   holds every stored label and identified table of a closed day, in their order on disk, and knows when each
          session was active. To give it the best odds it is also told the owner of half of the labels, at random.
Watcher   sees the released topic as it is written, with times, and is told the members of every crowd; and, to learn
          from, who gave what in half of the crowds.

Where several labels share a pseudonym, every attack lets their guesses vote: that is what the stream before the door
offers, and what the door takes away. An attack is a function of a view, and runs on either side of the door unchanged,
where before the door it must succeed: an attack that is blind there proves nothing. Pure; nothing here knows a key.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.metrics import roc_auc_score

from attacks.linkage.views import Activity, Crowds, Floats, Ints, View

Bools = NDArray[np.bool_]
Guesses = list[str]
"""A session for each label of a view; those whose owner is told are not counted."""

ORDERED_FIELDS = 6  # of `View.features`: those that say where a label is, and the keyed ones as a whole
RECEIVED_TO_APPENDED_MS = 20.0


def best_guess_without_labels(view: View, told: Bools) -> Guesses:
    """The session that gave most of the labels whose owner is told: no label is looked at."""
    busiest, _ = Counter(np.array(view.owner)[told].tolist()).most_common(1)[0]
    return [busiest] * len(view)


def by_time(view: View, activity: Activity) -> Guesses:
    """The session whose identified event lies nearest in time; without times, at the same place in the day's order."""
    if np.isnan(view.at).any():
        index = np.minimum((view.place * len(activity.at)).astype(int), len(activity.at) - 1)
    else:
        index = nearest(activity.at, view.at)
    return vote_by_pseudonym(view, [activity.session[number] for number in index.tolist()])


def by_neighbour(view: View, told: Bools) -> Guesses:
    """The owner of the nearest label in order whose owner is told."""
    return vote_by_pseudonym(view, _nearest_owner(view, told, view.place + view.log))


def by_pseudonym_neighbour(view: View, told: Bools) -> Guesses:
    """The owner of the label with the nearest pseudonym, of those whose owner is told: finds ids that run together."""
    values = np.array([int(pseudonym.replace("-", "")[:13], 16) for pseudonym in view.pseudonym], dtype=float)
    return vote_by_pseudonym(view, _nearest_owner(view, told, values))


def by_elimination(view: View, told: Bools) -> Guesses:
    """The busiest session that is not told to have answered the same task, since nobody votes twice on one."""
    owners = np.array(view.owner)[told].tolist()
    busiest_first = [owner for owner, _ in Counter(owners).most_common()]
    tasks = np.array(view.task)[told].tolist()
    answered: defaultdict[str, set[str]] = defaultdict(set)
    for task, owner in zip(tasks, owners, strict=True):
        answered[task].add(owner)
    guesses = [
        next((owner for owner in busiest_first if owner not in answered[task]), busiest_first[0]) for task in view.task
    ]
    known = {view.pseudonym[number]: view.owner[number] for number in np.flatnonzero(told).tolist()}
    return [known.get(pseudonym, guess) for pseudonym, guess in zip(view.pseudonym, guesses, strict=True)]


class Forest:
    """A random forest over every field, trained on the labels whose owner is told.

    Attributes:
        odds: (n, sessions) of every label of the view.
        sessions: (sessions,)
    """

    def __init__(self, view: View, told: Bools, seed: int, trees: int = 100) -> None:
        self._view = view
        forest = RandomForestClassifier(trees, min_samples_leaf=3, n_jobs=2, random_state=seed)
        forest.fit(view.features[told], np.array(view.owner)[told])
        self.sessions: NDArray[np.str_] = forest.classes_
        self.odds: Floats = forest.predict_proba(view.features)

    def guess(self) -> Guesses:
        """The most likely session of each label."""
        return vote_by_pseudonym(self._view, self.sessions[self.odds.argmax(axis=1)].tolist())

    def guess_among(self, crowds: Crowds) -> Guesses:
        """Likewise, among the members of the label's crowd."""
        column = {session: number for number, session in enumerate(self.sessions.tolist())}
        allowed = np.zeros((len(crowds.members), len(column)), dtype=bool)
        for number, crowd in enumerate(crowds.members):
            allowed[number, [column[member] for member in crowd if member in column]] = True
        odds = np.where(allowed[self._view.crowd], self.odds, -1.0)
        return vote_by_pseudonym(self._view, self.sessions[odds.argmax(axis=1)].tolist())


def by_time_among(view: View, activity: Activity, crowds: Crowds) -> Guesses:
    """The member of the label's crowd whose identified event lies nearest in time."""
    sessions = np.array(activity.session)
    guesses = np.empty(len(view), dtype=object)
    for number, indices in _by_crowd(view):
        among = np.flatnonzero(np.isin(sessions, list(crowds.members[number])))
        guesses[indices] = sessions[among[nearest(activity.at[among], view.at[indices])]]
    return vote_by_pseudonym(view, guesses.tolist())


def by_order_among(view: View, activity: Activity, crowds: Crowds) -> Guesses:
    """The member whose identified event has the label's place in the order of the crowd."""
    sessions = np.array(activity.session)
    guesses = np.empty(len(view), dtype=object)
    for _, indices, events in _crowds_with_events(view, activity, crowds):
        place = _ranks(view.place[indices], view.log[indices])
        guesses[indices] = sessions[events[np.minimum((place * len(events)).astype(int), len(events) - 1)]]
    return vote_by_pseudonym(view, guesses.tolist())


def by_both_crowds(view: View, activity: Activity, crowds: Crowds) -> dict[int, str]:
    """Guesses labels whose pseudonym came in several crowds: the member who was active in all of them, and most active.

    Gives index -> session, of those labels alone.
    """
    active: dict[int, Counter[str]] = {}
    seen: defaultdict[str, dict[int, int]] = defaultdict(dict)  # pseudonym -> crowd -> index
    for number, indices, events in _crowds_with_events(view, activity, crowds):
        active[number] = Counter(dict.fromkeys(crowds.members[number], 1))
        active[number].update(activity.session[event] for event in events.tolist())
        for index in indices.tolist():
            seen[view.pseudonym[index]][number] = index
    guesses: dict[int, str] = {}
    for places in seen.values():
        if len(places) > 1:
            shared = set.intersection(*(set(active[number]) for number in places))
            guess = max(sorted(shared), key=lambda one: sum(np.log(active[number][one]) for number in places))
            guesses |= dict.fromkeys(places.values(), guess)
    return guesses


def by_member(view: View, told: Bools, activity: Activity, crowds: Crowds, seed: int, rounds: int = 100) -> Guesses:
    """The member that a boosted classifier finds most likely, from all that can be said of a label and a member.

    How active the member was while the crowd gathered and when; the label's place in order, in time, by row_id and by
    version; how far its events are from each; and how many labels of the same pseudonym it is told to have given.
    Trained on the crowds whose owners are told.
    """
    given: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for index in np.flatnonzero(told).tolist():
        given[view.pseudonym[index]][view.owner[index]] += 1
    rows: list[Floats] = []
    pairs: list[tuple[Ints, list[str]]] = []
    for number, indices, events in _crowds_with_events(view, activity, crowds):
        rows.append(_pair_features(view, indices, events, activity, crowds.members[number], given, told))
        pairs.append((indices, list(crowds.members[number])))
    train = [told[indices].all() for indices, _ in pairs]
    owned = [
        np.array([view.owner[index] == member for index in indices.tolist() for member in crowd])
        for indices, crowd in pairs
    ]
    model = HistGradientBoostingClassifier(max_iter=rounds, random_state=seed)
    model.fit(
        np.vstack([one for one, known in zip(rows, train, strict=True) if known]),
        np.concatenate([one for one, known in zip(owned, train, strict=True) if known]),
    )
    guesses = np.empty(len(view), dtype=object)
    for features, (indices, crowd) in zip(rows, pairs, strict=True):
        odds = model.predict_proba(features)[:, 1].reshape(len(indices), len(crowd))
        guesses[indices] = np.array(crowd, dtype=object)[odds.argmax(axis=1)]
    return vote_by_pseudonym(view, guesses.tolist())


def same_session_auc(view: View, rng: np.random.Generator, pairs: int, rounds: int = 100) -> tuple[float, int]:
    """How well "same session?" is told for pairs of labels: 0.5 is not at all. Gives the AUC and the pairs scored.

    A boosted classifier sees the fields of both and their differences. It learns from pairs of one half of the labels
    and is scored on pairs of the other, so that no label can be remembered. Pairs of one task are left out: one vote a
    session and task is a rule of the product, so they are of two sessions, and everybody knows.
    """
    halves = np.array_split(rng.permutation(len(view)), 2)
    (train, answers), (test, truth) = (_pairs_of(view, half, rng, pairs) for half in halves)
    model = HistGradientBoostingClassifier(max_iter=rounds, random_state=0)
    model.fit(_differences(view, train), answers)
    return float(roc_auc_score(truth, model.predict_proba(_differences(view, test))[:, 1])), pairs


def vote_by_pseudonym(view: View, guesses: Guesses) -> Guesses:
    """Gives each label the guess that most labels of its pseudonym got."""
    votes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for pseudonym, guess in zip(view.pseudonym, guesses, strict=True):
        votes[pseudonym][guess] += 1
    winner = {pseudonym: counted.most_common(1)[0][0] for pseudonym, counted in votes.items()}
    return [winner[pseudonym] for pseudonym in view.pseudonym]


def nearest(sorted_values: Floats, wanted: Floats) -> Ints:
    """The index of the nearest of `sorted_values`, for each that is wanted; of two as near, the earlier."""
    right = np.clip(np.searchsorted(sorted_values, wanted), 1, max(len(sorted_values) - 1, 1))
    left = right - 1
    if len(sorted_values) == 1:
        return np.zeros(len(wanted), dtype=int)
    closer = np.abs(wanted - sorted_values[left]) <= np.abs(sorted_values[right] - wanted)
    return np.where(closer, left, right)


def _nearest_owner(view: View, told: Bools, values: Floats) -> Guesses:
    anchors = np.flatnonzero(told)[np.argsort(values[told], kind="stable")]
    return [view.owner[number] for number in anchors[nearest(values[anchors], values)].tolist()]


def _by_crowd(view: View) -> Iterable[tuple[int, Ints]]:
    order = np.argsort(view.crowd, kind="stable")
    numbers, starts = np.unique(view.crowd[order], return_index=True)
    return zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)


def _crowds_with_events(view: View, activity: Activity, crowds: Crowds) -> Iterable[tuple[int, Ints, Ints]]:
    """Each crowd, its labels, and its members' identified events while it gathered."""
    sessions = np.array(activity.session)
    for number, indices in _by_crowd(view):
        is_member = np.isin(sessions, list(crowds.members[number]))
        began, complete = crowds.began[number] - RECEIVED_TO_APPENDED_MS, crowds.complete[number]
        events = np.flatnonzero((activity.at >= began) & (activity.at <= complete) & is_member)
        yield number, indices, events if len(events) else np.flatnonzero(is_member)


def _pair_features(
    view: View,
    indices: Ints,
    events: Ints,
    activity: Activity,
    crowd: Sequence[str],
    given: dict[str, Counter[str]],
    told: Bools,
) -> Floats:
    """(labels * members, f), members running fastest; places are in the order of the crowd's events, 0 to 1."""
    sessions = np.array(activity.session)[events]
    middle = (np.arange(len(events)) + 0.5) / len(events)
    own = [middle[sessions == member] for member in crowd]
    member_columns = [
        [
            len(places) / len(events),
            places.mean() if len(places) else -1.0,
            places.min(initial=2.0),
            places.max(initial=-1.0),
            rank / len(crowd),
        ]
        for rank, places in enumerate(own)
    ]
    at = (np.searchsorted(activity.at[events], view.at[indices]) + 0.5) / len(events)
    zeros = np.zeros(len(indices), dtype=int)
    places_of_label = [
        _ranks(view.place[indices], view.log[indices]),
        at,
        *(_ranks(view.features[indices, column], zeros) for column in range(ORDERED_FIELDS)),
    ]
    columns = [np.tile(np.array(member_columns), (len(indices), 1))]
    for place in places_of_label:
        distances = [
            np.abs(places[nearest(places, place)] - place) if len(places) else np.full(len(place), 2.0)
            for places in own
        ]
        columns += [np.repeat(place, len(crowd))[:, None], np.array(distances).T.reshape(-1, 1)]
    same = [
        given[view.pseudonym[index]][member] - (told[index] and view.owner[index] == member)
        for index in indices.tolist()
        for member in crowd
    ]
    columns.append(np.array(same, dtype=float)[:, None])
    return np.hstack(columns).astype(np.float32)


def _ranks(values: Floats, groups: Ints) -> Floats:
    """Each value's rank within its group, 0 to 1."""
    ranks = np.empty(len(values))
    for group in np.unique(groups):
        inside = np.flatnonzero(groups == group)
        ranks[inside[np.argsort(values[inside], kind="stable")]] = (np.arange(len(inside)) + 0.5) / len(inside)
    return ranks


def _pairs_of(view: View, half: Ints, rng: np.random.Generator, pairs: int) -> tuple[Ints, Ints]:
    """(pairs, 2) labels of one half, and (pairs,) whether they are of one session: every second pair is."""
    by_owner: defaultdict[str, list[int]] = defaultdict(list)
    for index in half.tolist():
        by_owner[view.owner[index]].append(index)
    busy = {owner: np.array(indices) for owner, indices in by_owner.items() if len(indices) > 1}
    pool = np.concatenate(list(busy.values()))
    chosen: list[tuple[int, int]] = []
    while len(chosen) < pairs:
        one = int(rng.choice(pool))
        same = len(chosen) % 2 == 1
        other = int(rng.choice(busy[view.owner[one]] if same else pool))
        if view.task[one] != view.task[other] and same == (view.owner[one] == view.owner[other]) and one != other:
            chosen.append((one, other))
    return np.array(chosen), np.arange(pairs) % 2


def _differences(view: View, pairs: Ints) -> Floats:
    first, second = view.features[pairs[:, 0]], view.features[pairs[:, 1]]
    return np.hstack([np.abs(first - second), first, second])
