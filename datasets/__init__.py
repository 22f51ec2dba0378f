"""Built-in data sets. One line a plugin: name -> "module:class"; listing them imports nothing."""

plugins = {
    "dataset": {
        "rooms": "mtlbench.datasets.rooms:Rooms",
        "nyud": "mtlbench.datasets.nyud:NYUD",
        "pascal_context": "mtlbench.datasets.pascal_context:PASCALContext",
        "cityscapes": "mtlbench.datasets.cityscapes:Cityscapes",
        "nyuv2_mtan": "mtlbench.datasets.mtan:NYUv2MTAN",
        "cityscapes_mtan": "mtlbench.datasets.mtan:CityscapesMTAN",
    }
}
