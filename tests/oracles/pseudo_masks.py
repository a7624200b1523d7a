"""Which proposals supervise the segmentation branch."""


def masks_of(index, scores, valid, covered, empty, ranks, *, respect_neighbours):
    """Proposal numbers of the pick and its alternates; None where there is none."""
    if index < 0 or empty[index]:
        return [None] * (1 + len(ranks))
    order = sorted((m for m in range(len(scores)) if valid[m]), key=lambda m: -scores[m])
    chosen = [index]
    for rank in ranks:
        m = order[rank] if rank < len(order) else None
        if m is not None and (m == index or empty[m] or (respect_neighbours and covered[m])):
            m = None
        chosen.append(m)
    return chosen
