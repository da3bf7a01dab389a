;; A component with an import that only another host provides.
(component
  (import "acme:tools/files@1.0.0" (instance (export "read" (func (param "path" string) (result string))))))
