import com.amazonaws.services.lambda.runtime.events.KafkaEvent;
import com.amazonaws.services.lambda.runtime.serialization.PojoSerializer;
import com.amazonaws.services.lambda.runtime.serialization.events.LambdaEventSerializers;
import com.amazonaws.services.lambda.runtime.serialization.factories.JacksonFactory;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * The Java peer: KafkaEvent, read by the serializer that Lambda's Java runtime picks for it.
 *
 * <p>usage: java -cp 'LIB/*' Peer.java EVENTS DUMP
 */
public final class Peer {
  public static void main(String[] arguments) throws Exception {
    var serializer = serializer();
    Map<String, Object> readings = new LinkedHashMap<>();
    List<Path> events;
    try (Stream<Path> files = Files.list(Path.of(arguments[0]))) {
      events = files.sorted().toList();
    }
    for (Path event : events) {
      String name = event.getFileName().toString().replaceFirst("\\.json$", "");
      try (InputStream text = Files.newInputStream(event)) {
        readings.put(name, Map.of("decoded", normalForm(serializer.fromJson(text))));
      } catch (RuntimeException error) {
        readings.put(name, Map.of("rejected", String.valueOf(error)));
      }
    }
    // Nulls must be spelled out, so that a property that is missing here is seen as such.
    var answer = Map.of("peer", "java/serialization", "events", readings);
    try (var dump = new PrintStream(Files.newOutputStream(Path.of(arguments[1])), false, StandardCharsets.UTF_8)) {
      dump.print(json(List.of(answer)));
    }
  }

  /** As EventHandlerLoader of aws-lambda-java-runtime-interface-client chooses it. */
  private static PojoSerializer<KafkaEvent> serializer() {
    if (LambdaEventSerializers.isLambdaSupportedEvent(KafkaEvent.class.getName())) {
      return LambdaEventSerializers.serializerFor(KafkaEvent.class, Peer.class.getClassLoader());
    }
    return JacksonFactory.getInstance().getSerializer(KafkaEvent.class);
  }

  private static Map<String, Object> normalForm(KafkaEvent event) {
    Map<String, Object> records = new LinkedHashMap<>();
    event.getRecords().forEach((key, list) -> records.put(key, list.stream().map(Peer::normalForm).toList()));
    Map<String, Object> form = new LinkedHashMap<>();
    form.put("event_source", event.getEventSource());
    form.put("event_source_arn", event.getEventSourceArn());
    form.put("bootstrap_servers", event.getBootstrapServers());
    form.put("records", records);
    return form;
  }

  private static Map<String, Object> normalForm(KafkaEvent.KafkaEventRecord record) {
    List<Object> headers = new ArrayList<>();
    for (Map<String, byte[]> header : record.getHeaders()) {
      header.forEach((name, value) -> headers.add(List.of(name, HexFormat.of().formatHex(value))));
    }
    Map<String, Object> form = new LinkedHashMap<>();
    form.put("topic", record.getTopic());
    form.put("partition", record.getPartition());
    form.put("offset", record.getOffset());
    form.put("timestamp_ms", record.getTimestamp());
    form.put("timestamp_type", record.getTimestampType());
    form.put("key", bytes(record.getKey()));
    form.put("value", bytes(record.getValue()));
    form.put("headers", headers);
    return form;
  }

  private static String bytes(String base64) {
    return base64 == null ? null : HexFormat.of().formatHex(Base64.getDecoder().decode(base64));
  }

  /** The dump needs no library: maps, lists, strings, numbers and null. */
  private static String json(Object value) {
    if (value instanceof Map<?, ?> map) {
      var members = map.entrySet().stream().map(member -> json(member.getKey()) + ":" + json(member.getValue()));
      return "{" + String.join(",", members.toList()) + "}";
    }
    if (value instanceof List<?> list) {
      return "[" + String.join(",", list.stream().map(Peer::json).toList()) + "]";
    }
    if (value == null || value instanceof Number) {
      return String.valueOf(value);
    }
    var text = new StringBuilder("\"");
    for (char c : value.toString().toCharArray()) {
      text.append(c < 0x20 || c == '"' || c == '\\' || c > 0x7e ? String.format("\\u%04x", (int) c) : c);
    }
    return text.append('"').toString();
  }
}
