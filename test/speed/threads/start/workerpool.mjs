import workerpool from "workerpool"

workerpool.worker({ triple: (n) => n * 3 })
