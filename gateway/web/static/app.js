// Comfort only: every page works without this file.
(function () {
  "use strict";

  // Buttons that do nothing without a script are hidden until there is one.
  document.querySelectorAll("[data-print], [data-copy]").forEach(function (button) {
    button.hidden = false;
  });

  // On a narrow screen the tab that is open must be in sight.
  var tab = document.querySelector(".tabs [aria-current]");
  function showTab() {
    var strip = tab.closest(".tabs");
    strip.scrollLeft = tab.parentNode.offsetLeft - strip.offsetLeft - (strip.clientWidth - tab.offsetWidth) / 2;
  }
  if (tab) {
    showTab();
    window.addEventListener("resize", showTab);
  }

  document.addEventListener("click", function (event) {
    var print = event.target.closest("[data-print]");
    if (print) {
      window.print();
      return;
    }
    var copy = event.target.closest("[data-copy]");
    if (copy && navigator.clipboard) {
      navigator.clipboard.writeText(copy.dataset.copy).then(function () {
        copy.textContent = copy.dataset.copied;
      });
    }
  });

  // A form is sent once, however often its button is pressed.
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
  });
  window.addEventListener("pageshow", function () {
    document.querySelectorAll("form[data-sent]").forEach(function (form) {
      delete form.dataset.sent;
    });
  });

  // Choosing a part means "only some parts", entering a date "until a date", and
  // the other way round, so that nobody gives more than they meant to.
  document.addEventListener("change", function (event) {
    var field = event.target;
    var form = field.form;
    function choose(name, value) {
      var radio = form.querySelector('input[type="radio"][name="' + name + '"][value="' + value + '"]');
      if (radio) radio.checked = true;
    }
    if (!form) return;
    if (field.name === "part" && field.checked) choose("what", "parts");
    if (field.name === "date" && field.value) choose("span", "date");
    if (field.name === "span" && field.value !== "date" && form.elements.date) form.elements.date.value = "";
    if (field.name === "what") {
      form.querySelectorAll("details").forEach(function (parts) {
        if (parts.querySelector('[name="part"]')) parts.open = field.value === "parts";
      });
      if (field.value === "whole") {
        form.querySelectorAll('[name="part"]').forEach(function (part) {
          part.checked = false;
        });
      }
    }
  }, true);

  // A preview follows its form: data-when says for which values a part shows
  // ("name=value", "name" for any, "!name" for none), data-echo repeats a field.
  function follow(form) {
    var data = new FormData(form);
    form.querySelectorAll("[data-when]").forEach(function (part) {
      var rule = /^(!?)([^=]*)=?(.*)$/.exec(part.dataset.when);
      var values = data.getAll(rule[2]).filter(function (value) {
        return rule[3] ? value === rule[3] : value.trim() !== "";
      });
      part.hidden = rule[1] ? values.length > 0 : values.length === 0;
    });
    form.querySelectorAll("[data-echo]").forEach(function (part) {
      var value = (data.get(part.dataset.echo) || "").trim();
      var day = /^\d{4}-\d\d-\d\d$/.test(value) && new Date(value + "T00:00:00Z");
      if (day && !isNaN(day)) {
        value = day.toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
      }
      part.textContent = value || part.dataset.empty || "";
    });
  }
  document.querySelectorAll("[data-needless]").forEach(function (button) {
    button.hidden = true;
  });
  document.querySelectorAll("form").forEach(function (form) {
    if (!form.querySelector("[data-when]")) return;
    ["input", "change"].forEach(function (kind) {
      form.addEventListener(kind, function () {
        follow(form);
      });
    });
    window.addEventListener("pageshow", function () {
      follow(form);
    });
  });

  // A menu closes when something else is chosen.
  document.addEventListener("click", function (event) {
    document.querySelectorAll("details.menu[open]").forEach(function (menu) {
      if (!menu.contains(event.target)) menu.open = false;
    });
  });
  document.addEventListener("keydown", function (event) {
    if (event.key !== "Escape") return;
    document.querySelectorAll("details.menu[open]").forEach(function (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    });
  });
})();
