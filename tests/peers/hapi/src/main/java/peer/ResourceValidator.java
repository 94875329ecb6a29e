package peer;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ca.uhn.fhir.validation.SingleValidationMessage;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;

/**
 * HL7's R4 validator over JSON files: {@code ResourceValidator path...} (files, or folders of *.json) prints one JSON
 * line an issue (file, severity, messageId, location, text) and exits 1 if one is an error or fatal.
 * {@code ResourceValidator --serve} reads one path a line and ends each answer with {"done": path, "errors": n}.
 */
public class ResourceValidator {

  private static final ObjectMapper JSON = new ObjectMapper();

  private static final String DCM = "http://dicom.nema.org/resources/ontology/DCM";

  /** Modalities of today's DICOM PS3.16 CID 29 that the R4 jar's older copy of the DCM code system lacks. */
  private static final Set<String> NEWER_MODALITIES = Set.of("ANN", "CTPROTOCOL", "DOC", "M3D", "PA", "TEXTUREMAP");

  private final FhirValidator validator;

  ResourceValidator() {
    FhirContext fhir = FhirContext.forR4();
    var support = new ValidationSupportChain(
        new DefaultProfileValidationSupport(fhir),
        new CommonCodeSystemsTerminologyService(fhir),
        new InMemoryTerminologyServerValidationSupport(fhir),
        new SnapshotGeneratingValidationSupport(fhir));
    var instance = new FhirInstanceValidator(support);
    instance.setAssumeValidRestReferences(true); // else subject = Endpoint/x passes
    validator = fhir.newValidator().registerValidatorModule(instance);
  }

  /** Prints the issues of one file or of a folder's files and returns the number of errors. */
  int check(Path path) throws IOException {
    List<Path> files = new ArrayList<>();
    try (Stream<Path> walk = Files.walk(path)) {
      walk.filter(p -> p.equals(path) ? Files.isRegularFile(p) : p.toString().endsWith(".json")).sorted().forEach(files::add);
    }
    int errors = 0;
    for (Path file : files) {
      for (var issue : issuesOf(Files.readString(file))) {
        if (isNoise(issue)) {
          continue;
        }
        if (issue.getSeverity().compareTo(ResultSeverityEnum.ERROR) >= 0) {
          errors++;
        }
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("file", file.toString());
        line.put("severity", issue.getSeverity().getCode());
        line.put("messageId", issue.getMessageId());
        line.put("location", issue.getLocationString());
        line.put("text", issue.getMessage());
        System.out.println(JSON.writeValueAsString(line));
      }
    }
    return errors;
  }

  private List<SingleValidationMessage> issuesOf(String text) {
    try {
      return validator.validateWithResult(text).getMessages();
    } catch (RuntimeException unreadable) {
      var issue = new SingleValidationMessage();
      issue.setSeverity(ResultSeverityEnum.FATAL);
      issue.setMessageId("unreadable");
      issue.setMessage(unreadable.getMessage());
      return List.of(issue);
    }
  }

  /** What the R4 jar says of every good ImagingStudy: it holds no DICOM value sets, and we write no narrative. */
  private static boolean isNoise(SingleValidationMessage issue) {
    String id = String.valueOf(issue.getMessageId());
    String text = String.valueOf(issue.getMessage());
    if (id.endsWith("dom-6")) {
      return true;
    }
    if (id.equals("Terminology_TX_ValueSet_NotFound")) {
      return text.contains("sect_CID_29.html") || text.contains("part04/sect_B.5");
    }
    return NEWER_MODALITIES.stream().anyMatch(code -> text.equals("Unknown code '" + DCM + "#" + code + "'"));
  }

  public static void main(String[] arguments) throws IOException {
    var validator = new ResourceValidator();
    if (!(arguments.length == 1 && arguments[0].equals("--serve"))) {
      int errors = 0;
      for (String path : arguments) {
        errors += validator.check(Path.of(path));
      }
      System.exit(errors > 0 ? 1 : 0);
    }
    var asked = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String path = asked.readLine(); path != null; path = asked.readLine()) {
      int errors = validator.check(Path.of(path));
      System.out.println(JSON.writeValueAsString(Map.of("done", path, "errors", errors)));
      System.out.flush();
    }
  }
}
