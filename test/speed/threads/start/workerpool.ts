import workerpool from "workerpool"

workerpool.worker({ triple: (n: number) => n * 3 })
