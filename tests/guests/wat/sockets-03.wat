;; A component that imports the sockets of WASI 0.3.
(component
  (import "wasi:sockets/ip-name-lookup@0.3.0" (instance
    (export "resolve" (func (param "name" string) (result (list string)))))))
