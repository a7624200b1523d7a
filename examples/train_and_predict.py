"""The whole job in one call, then the trained model in a loop.

Runs as it is on small scenes that sapnet draws; put your own points file and image folder instead.

    python examples/train_and_predict.py OUT_FOLDER [CONFIG.yaml]
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import sapnet
from sapnet.data.scenes import write_scenes


def main(out: Path, config: Path | None = None) -> None:
    scenes = out / "scenes"
    write_scenes(scenes, num_train=4, num_val=1)
    run = sapnet.run(
        scenes / "points_train.json",
        scenes / "images",
        out=out / "run",
        config=config,
        overrides={"seed": 1},
        val_instances=scenes / "instances_val.json",
    )
    print("report:", run.report, "AP:", run.evaluation["validation"]["AP"])

    model = sapnet.load_model(run)
    for path in sorted((scenes / "images").glob("val_*")):
        frame = np.asarray(Image.open(path).convert("RGB"))  # a path works too; so does a video frame
        found = model.predict(frame)
        print(path.name, len(found), "objects", found.class_names[:3], found.boxes[:3].tolist())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
