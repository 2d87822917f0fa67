//! Every relative link leads to a file, and every anchor to a heading.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::pages::{Page, all_pages, root};

#[test]
fn every_link_leads_somewhere() {
    let pages = all_pages();
    let anchors: BTreeMap<_, _> =
        pages.iter().map(|page| (PathBuf::from(&page.name), anchors(page))).collect();
    let (mut count, mut dead) = (0, Vec::new());
    for page in &pages {
        for (line, target) in links(page) {
            count += 1;
            if !leads_somewhere(page, &target, &anchors) {
                dead.push(format!("{}:{line}: {target}", page.name));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
    assert!(count > 300, "only {count} links were found");
}

#[test]
fn dead_links_are_found() {
    let text = "# A b\n[x](no.md) [y](#a-b) [z](#c) `[w](v.md)`\n```\n[u](t.md)\n```\n";
    let page = Page { name: "docs/x.md".to_owned(), text: text.to_owned() };
    let anchors = BTreeMap::from([(PathBuf::from("docs/x.md"), anchors(&page))]);
    let dead: Vec<_> = links(&page)
        .into_iter()
        .filter(|(_, target)| !leads_somewhere(&page, target, &anchors))
        .collect();
    assert_eq!(dead, [(2, "no.md".to_owned()), (2, "#c".to_owned())]);
}

/// Every page of the book is in its table of contents, once.
#[test]
fn the_summary_names_every_page() {
    let pages = crate::pages::pages();
    let summary = pages.iter().find(|page| page.name == "docs/SUMMARY.md").expect("it is there");
    let mut listed: Vec<_> =
        links(summary).into_iter().map(|(_, target)| format!("docs/{target}")).collect();
    let mut there: Vec<_> = pages
        .iter()
        .map(|page| page.name.clone())
        .filter(|name| name != "README.md" && name != "docs/SUMMARY.md")
        .collect();
    listed.sort();
    there.sort();
    assert_eq!(listed, there);
}

fn leads_somewhere(
    page: &Page,
    target: &str,
    anchors: &BTreeMap<PathBuf, BTreeSet<String>>,
) -> bool {
    if ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme)) {
        return true;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = Path::new(&page.name).parent().unwrap_or_else(|| Path::new(""));
    let file = match file {
        "" => PathBuf::from(&page.name),
        file => plain(&folder.join(file)),
    };
    match anchors.get(&file) {
        Some(anchors) => anchor.is_empty() || anchors.contains(anchor),
        None => anchor.is_empty() && root().join(&file).exists(),
    }
}

/// Without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(plain.pop(), "{} leads out", path.display()),
            Component::Normal(part) => plain.push(part),
            _ => {}
        }
    }
    plain
}

/// Targets of `[...](target)`, `src="target"` and `href="target"`, with their lines.
fn links(page: &Page) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in page.prose() {
        let line = without_code(line);
        for (begin, end) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
            for rest in line.split(begin).skip(1) {
                let target = rest.split(end).next().unwrap_or_default();
                links.push((number, target.to_owned()));
            }
        }
    }
    links
}

/// A line without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("x")
}

fn anchors(page: &Page) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, line) in page.prose() {
        let bare = line.trim_start_matches('#');
        if bare.len() == line.len() || !bare.starts_with(' ') {
            continue;
        }
        let slug = slug(bare.trim());
        let numbered = (1..).map(|number| format!("{slug}-{number}"));
        let free = std::iter::once(slug.clone()).chain(numbered).find(|it| !found.contains(it));
        found.extend(free);
    }
    found
}

/// As GitHub and mdBook make it from a heading.
fn slug(heading: &str) -> String {
    let mut text = String::new();
    // Of a link its text alone.
    for (number, part) in heading.split("](").enumerate() {
        text += if number == 0 { part } else { part.split_once(')').map_or(part, |it| it.1) };
    }
    let letters = text.to_lowercase();
    let kept = letters.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
