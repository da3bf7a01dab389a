;; A component that imports a function of WASI 0.2 that does not exist.
(component
  (import "wasi:random/random@0.2.0" (instance (export "get-better-random" (func (result u64))))))
