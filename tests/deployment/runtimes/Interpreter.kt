// Android's Interpreter on a record instead of a model, for tests.
package org.tensorflow.lite

import java.io.File
import java.nio.ByteBuffer

private val folder = System.getenv("RECORDED")

private fun key(name: String) = name.toByteArray().joinToString("") { String.format("%02x", it) }

class Interpreter(private val file: File) : AutoCloseable {
    private var count = 0

    fun runSignature(inputs: Map<String, Any>, outputs: Map<String, Any>, signatureKey: String) {
        check(file.name.endsWith(".tflite"))
        check(signatureKey == File("$folder/signature").readText()) { "no signature $signatureKey" }
        for ((name, value) in inputs) {
            val buffer = value as ByteBuffer
            check(buffer.position() == 0) { "input $name is not rewound" }
            val bytes = ByteArray(buffer.capacity()) { buffer.get(it) }
            check(bytes.contentEquals(File("$folder/in.$count.${key(name)}").readBytes())) {
                "input $name is not the recorded one"
            }
        }
        for ((name, value) in outputs) {
            val buffer = value as ByteBuffer
            val bytes = File("$folder/out.$count.${key(name)}").readBytes()
            check(bytes.size == buffer.capacity()) { "output $name has ${bytes.size} bytes" }
            buffer.put(bytes)
        }
        count += 1
    }

    fun resetVariableTensors() = File("$folder/reset").writeText("1")

    override fun close() = Unit
}
