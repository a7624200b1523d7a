"""The interval of paired differences, image by image and object by object."""

import numpy as np


def paired_mean(ours, theirs):
    """Mean over objects of ``{seed: {image: [overlap, ...]}}`` on the seeds and images of both."""
    gains = []
    for seed in ours:
        for image, overlaps in ours[seed].items():
            if seed in theirs and image in theirs[seed] and len(theirs[seed][image]) == len(overlaps):
                gains += [mine - other for mine, other in zip(overlaps, theirs[seed][image], strict=True)]
    return sum(gains) / len(gains)


def interval(ours, theirs, *, seed, resamples, chunk=1000):
    """Percentiles of the means of drawn images, each with its objects of all seeds."""
    images = sorted(
        {
            image
            for key in ours
            if key in theirs
            for image in ours[key]
            if image in theirs[key] and len(ours[key][image]) == len(theirs[key][image])
        }
    )
    random = np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, chunk):
        share = [1 / len(images)] * len(images)
        for counts in random.multinomial(len(images), share, size=min(chunk, resamples - start)):
            chosen = [image for image, count in zip(images, counts, strict=True) for _ in range(count)]
            gains = []
            for image in chosen:
                for key in ours:
                    if key in theirs and image in ours[key] and image in theirs[key]:
                        pairs = zip(ours[key][image], theirs[key][image], strict=True)
                        gains += [mine - other for mine, other in pairs]
            means.append(sum(gains) / len(gains))
    means.sort()

    def quantile(share):
        place = share * (len(means) - 1)
        low = int(place)
        high = min(low + 1, len(means) - 1)
        return means[low] + (place - low) * (means[high] - means[low])

    return quantile(0.025), quantile(0.975)
