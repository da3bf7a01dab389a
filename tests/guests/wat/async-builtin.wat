;; A component that creates a stream. Only asynchronous components can do this.
(component
  (type $s (stream u8))
  (core func $new (canon stream.new $s))
  (core module $m (import "" "new" (func (result i64))))
  (core instance (instantiate $m (with "" (instance (export "new" (func $new)))))))
