"""Built-in architectures. One line a plugin: name -> "module:class"; listing them imports nothing."""

plugins = {
    "method": {
        "constant": "mtlbench.methods.constant:Constant",
        "single_task": "mtlbench.methods.single_task:SingleTask",
        "multi_task": "mtlbench.methods.multi_task:MultiTask",
        "atrc": "mtlbench.methods.atrc.atrc:ATRC",
        "atrc_search": "mtlbench.methods.atrc.search:ATRCSearch",
        "degmix": "mtlbench.methods.degmix.degmix:DeGMix",
        "pad_net": "mtlbench.methods.pad_net:PadNet",
        "mtan": "mtlbench.methods.mtan:MTAN",
        "mtan_segnet": "mtlbench.methods.mtan_segnet:MTANSegNet",
        "segnet": "mtlbench.methods.segnet:SegNet",
        "mtmamba": "mtlbench.methods.mtmamba:MTMamba",
        "mtmamba_plus": "mtlbench.methods.mtmamba_plus:MTMambaPlus",
        "pap": "mtlbench.methods.pap:PAP",
        "psd": "mtlbench.methods.psd:PSD",
        "mti_net": "mtlbench.methods.mti_net:MTINet",
        "mtlsi_net": "mtlbench.methods.mtlsi_net:MTLSINet",
        "cross_stitch": "mtlbench.methods.cross_stitch:CrossStitch",
        "nddr_cnn": "mtlbench.methods.nddr_cnn:NDDRCNN",
        "invpt": "mtlbench.methods.invpt:InvPT",
        "invpt_pp": "mtlbench.methods.invpt_pp:InvPTPlusPlus",
        "mtformer": "mtlbench.methods.mtformer:MTFormer",
        "mult": "mtlbench.methods.mult:MulT",
        "taskprompter": "mtlbench.methods.taskprompter.taskprompter:TaskPrompter",
        "demt": "mtlbench.methods.demt:DeMT",
        "ditasa": "mtlbench.methods.ditasa:DITASA",
        "mqtransformer": "mtlbench.methods.mqtransformer:MQTransformer",
    }
}
