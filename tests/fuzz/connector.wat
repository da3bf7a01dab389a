;; A small connector. It returns a manifest, and a check succeeds. Its other functions trap. The
;; component with this module is the first input of the fuzz targets for components. After a change
;; of the WIT, build this component again as follows. Also build `long_word.wasm` again: it has the
;; same code, but its settings schema contains a very long word.
;;
;;   wasm-tools component embed ../../wit --world kpis-connector connector.wat -o core.wasm
;;   wasm-tools component new core.wasm -o corpus/component_mutated/connector.wasm
(module
  (import "jackfield:connector/log@0.1.0" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  ;; A bump allocator. It never frees memory.
  (global $free (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $free)
    (global.set $free (i32.add (global.get $free) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8)))))

  (func (export "jackfield:connector/plugin@0.1.0#describe") (result i32)
    (call $log (i32.const 1) (i32.const 64) (i32.const 4))
    (i32.const 0))
  ;; ok("tiny")
  (func (export "jackfield:connector/plugin@0.1.0#check") (result i32) (i32.const 768))
  (func (export "jackfield:connector/plugin@0.1.0#choices") (param i32 i32 i32 i32) (result i32) unreachable)
  (func (export "jackfield:connector/kpis@0.1.0#count") (param i32 i32) (result i32) unreachable)

  ;; The manifest: name, version, summary, no homepage, settings, index-delay-seconds.
  (data (i32.const 0)
    "\40\00\00\00\04\00\00\00" "\48\00\00\00\05\00\00\00" "\40\00\00\00\04\00\00\00"
    "\00\00\00\00" "\00\00\00\00\00\00\00\00"
    "\80\00\00\00\5a\01\00\00" "\01\00\00\00\05\00\00\00")
  (data (i32.const 64) "tiny")
  (data (i32.const 72) "0.1.0")
  (data (i32.const 128)
    "{\"type\":\"object\",\"properties\":{"
    "\"url\":{\"type\":\"string\",\"format\":\"uri\",\"jackfield:origin\":true},"
    "\"project\":{\"type\":\"string\",\"pattern\":\"^[a-z]+$\"},"
    "\"mode\":{\"type\":\"string\",\"enum\":[\"one\",\"two\"]},"
    "\"api-key\":{\"type\":\"string\",\"writeOnly\":true,"
    "\"jackfield:place\":{\"in\":\"header\",\"name\":\"X-Api-Key\"}}},"
    "\"required\":[\"url\",\"api-key\"],\"additionalProperties\":false}")
  (data (i32.const 768) "\00\00\00\00\40\00\00\00\04\00\00\00"))
