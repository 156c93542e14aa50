"""The owner's page in a browser: it refreshes itself while it is used, and changes the raters."""

from __future__ import annotations

import pytest
from collect.browser.conftest import Serve
from collect.browser.rater_page import PHONE, RaterPage
from collect.browser.served import Served
from collect.database import answer_next
from collect.saying import ids
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.usefixtures("quiet")
QUARANTINE = 'button[data-act="quarantine"]'
INVITE = '[data-key=raters] button[data-act="invite"]'
FOCUSED = "return document.activeElement.matches(arguments[0])"


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    served = serve(prompts=6, images=2, title="The owner looks")
    for _ in range(3):
        served.invite()
    return served


@pytest.fixture
def owner(page: RaterPage, served: Served) -> RaterPage:
    page.open(f"{served.address}/owner/enter/{served.study.renew_owner()}")
    page.wait("the page runs", lambda: page.text("#fresh"))
    return page


def refresh(page: RaterPage) -> None:
    """Makes the page refresh itself, as it does every ten seconds and when it becomes visible."""
    page.script("document.getElementById('fresh').textContent = ''")
    page.script("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait("the numbers are new", lambda: page.text("#fresh"))


def focus(page: RaterPage, css: str) -> None:
    page.script("document.querySelector(arguments[0]).focus()", css)


def test_a_refresh_keeps_the_focus_an_open_list_and_a_half_typed_name(owner, served):
    owner.script("document.querySelector('.raters').closest('section').querySelector('details').open = true")
    focus(owner, f'{QUARANTINE}[data-name="rater 2"]')
    before = owner.text('[data-key="Votes that count"] dd')
    answer_next(served.study, ids(served.study)[0])
    refresh(owner)
    assert int(owner.text('[data-key="Votes that count"] dd')) == int(before) + 1
    assert owner.script(FOCUSED, f'{QUARANTINE}[data-name="rater 2"]')
    assert owner.script("return document.querySelector('[data-key=raters] details').open")
    owner.click(INVITE)
    owner.find("#name").send_keys("Half a na")
    refresh(owner)
    assert owner.script(FOCUSED, "#name")
    assert owner.script("return document.getElementById('name').value") == "Half a na"


def test_a_rater_who_is_added_elsewhere_has_a_row_after_the_next_refresh(owner, served):
    name = f"rater {served.raters + 1}"
    assert name not in owner.text(".raters")
    served.invite()
    refresh(owner)
    assert name in owner.text(".raters")


def test_a_rater_is_quarantined_and_released_with_the_keyboard(owner, served):
    mine = f'{QUARANTINE}[data-name="rater 1"]'
    for words, said in (("Count again rater 1", "no longer counted"), ("Quarantine rater 1", "counted again")):
        focus(owner, mine)
        owner.keys(Keys.ENTER)
        owner.wait("the page says so", lambda said=said: said in owner.text("#say"))
        assert owner.script("return document.querySelector(arguments[0]).textContent", mine) == words
        assert owner.script(FOCUSED, mine)


def test_a_link_for_a_new_rater_is_shown_once_and_can_be_copied(owner, served):
    owner.click(INVITE)
    owner.find("#name").send_keys("Ada <b>", Keys.ENTER)
    owner.wait("there is a link", lambda: owner.visible("#link"))
    link = owner.script("return document.getElementById('link').value")
    assert served.study.rater(link.rsplit("/", 1)[1]) == ids(served.study)[-1]
    assert owner.text("#for") == "Ada <b>"
    owner.wait("the table has a row more", lambda: "Ada <b>" in owner.text(".raters"))
    owner.click("#copy")
    owner.wait("it is copied", lambda: owner.text("#copied") == "The link is copied.")
    owner.photo("owner-link")
    owner.keys(Keys.ESCAPE)
    assert not owner.visible("#invite")
    owner.click(INVITE)
    assert owner.script("return document.getElementById('link').value") == "", "it is shown once"
    owner.find("#name").send_keys("Ada <b>", Keys.ENTER)
    owner.wait("the name is taken", lambda: "choose another name" in owner.text("#refused"))
    assert any("409" in each for each in owner.complaints())  # the browser notes the refusal
    owner.driver.refresh()
    assert link.rsplit("/", 1)[1] not in owner.driver.page_source


def test_a_link_is_renewed_only_once_the_owner_is_sure(owner, served):
    old = served.invite().rsplit("/", 1)[1]
    name = f"rater {served.raters}"
    refresh(owner)
    for key, valid in ((Keys.ESCAPE, True), (Keys.ENTER, True), (None, False)):
        focus(owner, f'button[data-act="renew"][data-name="{name}"]')
        owner.keys(Keys.ENTER)
        owner.wait("it asks", lambda: owner.visible("#sure"))
        owner.keys(key) if key else owner.click('#sure button[value="yes"]')  # Enter is on Cancel
        owner.wait("it asks no more", lambda: not owner.visible("#sure"))
        if not valid:
            owner.wait("there is a link", lambda: owner.visible("#link"))
        assert (served.study.rater(old) is not None) is valid


def test_a_study_with_too_few_raters_says_so_with_a_button_to_invite_one(page, serve):
    served = serve(prompts=2, raters_per_item=2, title="Too few raters")
    page.open(f"{served.address}/owner/enter/{served.study.renew_owner()}")
    page.wait("the page runs", lambda: page.text("#fresh"))
    for votes, short, name in (("4 votes", "2 more raters", "Ada"), ("2 votes", "another rater", "Ben")):
        assert page.text(".short b") == f"{votes} need {short}."
        page.click('.short button[data-act="invite"]')
        page.find("#name").send_keys(name, Keys.ENTER)
        page.wait("there is a link", lambda: page.visible("#link"))
        page.keys(Keys.ESCAPE)
        page.wait("the row is there", lambda name=name: name in page.text(".raters"))
    page.wait("nothing is lacking", lambda: not page.visible(".short"))


def test_the_page_says_so_when_its_numbers_are_no_longer_current(owner, served):
    served.study.renew_owner()
    owner.script("document.dispatchEvent(new Event('visibilitychange'))")
    owner.wait("it says so", lambda: "no longer kept up to date" in owner.text("#say"))
    assert "open the owner's link" in owner.text("#say")
    assert any("401" in each for each in owner.complaints())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it_without_scrolling_sideways(page, served, scheme):
    link = f"{served.address}/owner/enter/{served.study.renew_owner()}"
    page.open(link, PHONE, touch=True, prefers_color_scheme=scheme)
    page.wait("the page runs", lambda: page.text("#fresh"))
    page.photo(f"owner-phone-{scheme}")
    assert page.script("return document.documentElement.scrollWidth") <= PHONE[0]
    small = "return [...document.querySelectorAll('main button, main summary')].filter(e => e.checkVisibility()"
    assert page.script(small + " && e.getBoundingClientRect().height < 44).map(e => e.textContent)") == []
