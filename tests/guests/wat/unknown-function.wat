;; A component that imports a function from WASI 0.2. The function does not exist there.
(component
  (import "wasi:random/random@0.2.0" (instance (export "get-better-random" (func (result u64))))))
