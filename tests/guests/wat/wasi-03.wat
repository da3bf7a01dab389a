;; A component that imports an asynchronous function of WASI 0.3.
(component
  (import "wasi:clocks/monotonic-clock@0.3.0" (instance
    (export "wait-for" (func async (param "how-long" u64))))))
