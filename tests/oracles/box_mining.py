"""Section 3.4 for one prompt: the single pass, and the fix-point that the released code meant."""

from oracles import boxes as box_oracle


def _merge(proposal, box, proposal_weight, box_weight):
    total = proposal_weight + box_weight
    return [(proposal_weight * p + box_weight * b) / total for p, b in zip(proposal, box, strict=True)]


def mine(box, proposals, mergeable, order, *, overlap_threshold, containing_threshold, tolerance):
    """One pass over the proposals named by ``order``."""
    last_area, best = box_oracle.area(box), 0.0
    for m in order:
        proposal = proposals[m]
        if not mergeable[m] or not box_oracle.area(proposal) > last_area:
            continue
        u = box_oracle.iou(box, proposal)
        contains = (
            proposal[0] - tolerance <= box[0]
            and proposal[1] - tolerance <= box[1]
            and proposal[2] + tolerance >= box[2]
            and proposal[3] + tolerance >= box[3]
        )
        if u > overlap_threshold and u > best:
            box = _merge(proposal, box, 1.0, u)
        elif u > containing_threshold and contains and u > best:
            box = _merge(proposal, box, u, 1.0)
        else:
            continue
        best, last_area = u, box_oracle.area(proposal)
    return box


def mine_to_fix_point(box, proposals, mergeable, order, **settings):
    """Repeat single passes until the box stays."""
    while True:
        mined = mine(box, proposals, mergeable, order, **settings)
        if mined == box:
            return box
        box = mined


def candidate_order(scores, valid, candidates):
    """The best valid proposals by score, the first among equals first."""
    members = [m for m in range(len(scores)) if valid[m]]
    return sorted(members, key=lambda m: -scores[m])[:candidates]
