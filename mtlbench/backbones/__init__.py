"""Backbones under the field's names. One line a backbone: name -> "module:callable"; listing them imports
nothing.

A callable takes `weights` ("none", "pretrained" or a file) and returns a `Backbone`. Any other timm model
goes by timm's name.
"""

plugins = {
    "backbone": {
        "resnet18": "mtlbench.backbones.timm_features:resnet18",
        "resnet50": "mtlbench.backbones.timm_features:resnet50",
        "hrnet18": "mtlbench.backbones.hrnet:hrnet18",
        "hrnet48": "mtlbench.backbones.hrnet:hrnet48",
        "swin-t": "mtlbench.backbones.swin:swin_t",
        "swin-s": "mtlbench.backbones.swin:swin_s",
        "swin-b": "mtlbench.backbones.swin:swin_b",
        "swin-l": "mtlbench.backbones.swin:swin_l",
        "vit-b": "mtlbench.backbones.vit:vit_b",
        "vit-l": "mtlbench.backbones.vit:vit_l",
        "efficientnet-lite0": "mtlbench.backbones.timm_features:efficientnet_lite0",
        "*": "mtlbench.backbones.build:timm_by_name",
    }
}
