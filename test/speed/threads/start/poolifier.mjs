import { ThreadWorker } from "poolifier"

export default new ThreadWorker({ triple: (n) => n * 3 })
