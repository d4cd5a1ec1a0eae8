import { ThreadWorker } from "poolifier"

export default new ThreadWorker<number, number>({ triple: (n?: number): number => n! * 3 })
