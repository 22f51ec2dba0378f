"""Classes and parts of PASCAL-Context as multi-task papers use it."""

import numpy as np

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "table", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""The 21 classes of `semseg`: background and those of PASCAL VOC, in their order."""

CONTEXT_IDS = (
    2, 23, 25, 31, 34, 45, 59, 65, 72, 98, 397, 113, 207, 258, 284, 308, 347, 368, 416, 427,
)  # fmt: skip
"""Ids of the 20 classes in the label maps of 459 classes."""

CONTEXT_CLASSES = 459
"""Label maps hold 1 to 459, or 0."""

PARTS = ("background", "head", "torso", "upper arm", "lower arm", "upper leg", "lower leg")
"""The 7 classes of `human_parts`."""

PERSON = 15
"""The category of persons in PASCAL-Part."""

_PARTS_NAMED = (
    ("hair", "head", "lear", "lebrow", "leye", "mouth", "nose", "rear", "rebrow", "reye"),
    ("neck", "torso"),
    ("luarm", "ruarm"),
    ("llarm", "lhand", "rlarm", "rhand"),
    ("luleg", "ruleg"),
    ("llleg", "lfoot", "rlleg", "rfoot"),
)
PART_OF = {name: part for part, names in enumerate(_PARTS_NAMED, start=1) for name in names}
"""The class of each part that PASCAL-Part names."""

NORMALS_IDS = (
    3, 4, 6, 9, 10, 11, 13, 15, 17, 18, 22, 23, 29, 30, 33, 34, 36, 37, 38, 39, 41, 43, 46, 49, 50, 51, 53,
    55, 56, 59, 61, 62, 65, 66, 68, 69, 72, 73, 78, 83, 84, 85, 87, 88, 95, 96, 101, 104, 105, 107, 111,
    113, 115, 122, 124, 135, 141, 142, 143, 146, 150, 154, 157, 158, 159, 165, 172, 174, 181, 183, 184, 191,
    193, 195, 197, 199, 202, 213, 215, 216, 219, 220, 223, 225, 228, 230, 232, 233, 238, 239, 242, 243, 246,
    250, 251, 252, 255, 260, 261, 263, 269, 272, 273, 275, 281, 283, 284, 285, 286, 287, 288, 290, 291, 292,
    293, 295, 304, 307, 309, 310, 314, 315, 319, 323, 329, 330, 331, 336, 342, 345, 349, 350, 351, 352, 355,
    357, 368, 370, 371, 374, 379, 380, 383, 384, 397, 401, 403, 405, 407, 408, 411, 412, 413, 414, 417, 419,
    421, 423, 427, 429, 430, 432, 440, 441, 442, 443, 444, 446, 454, 457,
)  # fmt: skip
"""The 170 ids of label maps where the distilled normals are used: classes that indoor data sets have too."""

HAS_NORMALS = np.zeros(CONTEXT_CLASSES + 1, dtype=bool)
HAS_NORMALS[list(NORMALS_IDS)] = True
