"""Built-in architectures. One line a plugin: name -> "module:class"; listing them imports nothing."""

plugins = {
    "method": {
        "constant": "mtlbench.methods.constant:Constant",
        "single_task": "mtlbench.methods.single_task:SingleTask",
        "multi_task": "mtlbench.methods.multi_task:MultiTask",
        "degmix": "mtlbench.methods.degmix:DeGMix",
    }
}
