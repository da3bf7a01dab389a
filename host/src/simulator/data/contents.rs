//! The content of the data set: two projects of a company; `odd` has a third one with difficult
//! texts.

/// The content of one project, from which its data is made.
pub(super) struct ProjectContent {
    pub(super) prefix: &'static str,
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) requirements: &'static [&'static str],
    pub(super) test_sets: &'static [&'static str],
    pub(super) cases: Vec<CaseContent>,
}

/// The content of one test case, from which its data is made.
#[derive(Debug, Clone)]
pub(super) struct CaseContent {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) pre_condition: Option<String>,
    /// The message of the assertion that fails; `None` if the test passes.
    pub(super) failure: Option<String>,
    /// The variations of a test with several data rows; empty for a test without variations.
    pub(super) variations: Vec<String>,
    /// Whether all variations fail, or only the last one.
    pub(super) all_fail: bool,
    /// Each step with its expected result; empty for an automated test.
    pub(super) steps: &'static [(&'static str, &'static str)],
    pub(super) labels: Vec<String>,
    pub(super) fields: Vec<(String, String)>,
    /// The names of the files of a failed log.
    pub(super) files: Vec<String>,
    pub(super) robot_log_lines: usize,
}

/// The contents of all projects.
pub(super) fn projects() -> Vec<ProjectContent> {
    vec![shop(), bank(), super::odd::project()]
}

fn shop() -> ProjectContent {
    ProjectContent {
        prefix: "SHOP",
        name: "Web shop",
        description: "Tests of the public web shop.",
        requirements: &["Customers can pay", "Customers find products", "Invoices are correct"],
        test_sets: &["Nightly regression", "Release 4.2"],
        cases: vec![
            case("Checkout with a valid card")
                .about("Buys one article and pays with a valid card.", "The cart is empty.")
                .fails("Expected total 42.00 EUR, but the page showed 42.50 EUR")
                .labelled(&["checkout", "smoke"])
                .with_files(&["page.html", "trace.json"]),
            case("Checkout refuses an expired card")
                .about("Pays with a card that expired last month.", "The cart has one article."),
            case("Search finds products with an umlaut")
                .about("Searches for a name with a special character.", "The catalog is loaded.")
                .fails("Expected at least 1 result for \"naïve café\", but found 0")
                .varied(&["Müller", "Größe 38", "naïve café"])
                .labelled(&["search"]),
            case("Cart keeps its articles after sign-in")
                .about("Fills the cart, then signs in.", "The customer has an account.")
                .fails("Element not found: the cart shows no article after sign-in")
                .labelled(&["checkout"])
                .with_files(&["browser.log"]),
            case("Invoice shows net and gross amounts")
                .about("Looks at the invoice of an order.", "An order with two tax rates exists.")
                .fails("The invoice shows the net amount twice")
                .stepwise(&[
                    ("Open the order", "The order's page is shown"),
                    ("Open the invoice", "The invoice is shown as PDF"),
                    ("Compare the amounts", "Net, tax and gross amounts are shown once each"),
                ]),
            case("Order confirmation is sent once").about(
                "Orders an article and reads the customer's mailbox.",
                "The mailbox is empty.",
            ),
        ],
    }
}

fn bank() -> ProjectContent {
    ProjectContent {
        prefix: "BANK",
        name: "Online banking",
        description: "Tests of the banking portal.",
        requirements: &["Transfers are booked once", "Sign-in needs two factors"],
        test_sets: &["Daily smoke test"],
        cases: vec![
            case("Transfer between own accounts")
                .about("Transfers 100 from the first to the second account.", "Both have money.")
                .fails("Expected balance 1,100.00 USD, but was 1,000.00 USD")
                .varied(&["EUR to EUR", "EUR to USD"])
                .labelled(&["transfer", "smoke"]),
            case("Sign in with a second factor")
                .about("Signs in with a password and a code.", "The customer has a phone.")
                .fails("HTTP 503 from https://bank.example/api/codes: the code was not sent")
                .labelled(&["security"])
                .with_files(&["request.har"]),
            case("Statement downloads as PDF")
                .about("Downloads last month's statement.", "A statement exists."),
            case("Standing order on a holiday")
                .about("Checks when a standing order is booked.", "The next due date is a holiday.")
                .fails("The order was booked on the holiday")
                .stepwise(&[
                    ("Create a standing order for the holiday", "It is listed"),
                    ("Wait for the booking", "It is booked on the next working day"),
                ]),
        ],
    }
}

/// A test case that passes; the methods below change it.
pub(super) fn case(name: impl Into<String>) -> CaseContent {
    CaseContent {
        name: name.into(),
        description: None,
        pre_condition: None,
        failure: None,
        variations: Vec::new(),
        all_fail: false,
        steps: &[],
        labels: Vec::new(),
        fields: vec![
            ("Severity".to_owned(), "Major".to_owned()),
            ("Component".to_owned(), "Portal".to_owned()),
        ],
        files: Vec::new(),
        robot_log_lines: 40,
    }
}

impl CaseContent {
    pub(super) fn about(mut self, description: &str, pre_condition: &str) -> Self {
        self.description = Some(description.to_owned());
        self.pre_condition = Some(pre_condition.to_owned());
        self
    }

    pub(super) fn fails(mut self, message: impl Into<String>) -> Self {
        self.failure = Some(message.into());
        self
    }

    pub(super) fn varied(mut self, variations: &[&str]) -> Self {
        self.variations = to_strings(variations);
        self
    }

    pub(super) fn labelled(mut self, labels: &[&str]) -> Self {
        self.labels = to_strings(labels);
        self
    }

    pub(super) fn with_files(mut self, names: &[&str]) -> Self {
        self.files = to_strings(names);
        self
    }

    fn stepwise(mut self, steps: &'static [(&'static str, &'static str)]) -> Self {
        self.steps = steps;
        self
    }
}

fn to_strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
