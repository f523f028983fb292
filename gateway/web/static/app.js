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

  // What can be undone for a moment goes when that is over, but not from under a hand.
  document.querySelectorAll("[data-over]").forEach(function (form) {
    function end() {
      if (form.matches(":hover, :focus-within")) {
        setTimeout(end, 500);
        return;
      }
      form.classList.add("spent");
    }
    setTimeout(end, form.dataset.over * 1000);
  });

  // A form is sent once, however often its button is pressed.
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.hasAttribute("data-again")) return; // its answer is a file: the page stays
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
        var page = document.documentElement.lang;
        value = day.toLocaleDateString(page === "en" ? "en-GB" : page, { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
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

  // On a drawing, the value nearest to the pointer is read out; with the keyboard,
  // the arrows go from value to value.
  document.querySelectorAll("[data-plot]").forEach(function (plot) {
    var marks = Array.from(plot.querySelectorAll("use")).map(function (use) {
      return { x: parseFloat(use.getAttribute("x")), y: parseFloat(use.getAttribute("y")), text: use.textContent };
    });
    marks.sort(function (a, b) { return a.x - b.x; });
    marks = marks.filter(function (mark, i) { // of a blood pressure, one of two
      return !i || mark.x !== marks[i - 1].x || mark.text !== marks[i - 1].text;
    });
    if (!marks.length) return;
    var cursor = document.createElement("div");
    var here = document.createElement("div");
    var tip = document.createElement("div");
    var at = marks.length - 1;
    cursor.className = "cursor";
    cursor.tabIndex = 0;
    cursor.setAttribute("role", "slider");
    cursor.setAttribute("aria-label", plot.dataset.plot);
    cursor.setAttribute("aria-valuemin", 1);
    cursor.setAttribute("aria-valuemax", marks.length);
    here.className = "here";
    tip.className = "tip";
    plot.append(cursor, here, tip);
    function hide() {
      here.hidden = tip.hidden = true;
    }
    function choose(n, shown) {
      at = Math.max(0, Math.min(marks.length - 1, n));
      var mark = marks[at];
      cursor.setAttribute("aria-valuenow", at + 1);
      cursor.setAttribute("aria-valuetext", mark.text);
      tip.textContent = mark.text;
      here.style.left = tip.style.left = mark.x + "%";
      here.style.top = tip.style.top = mark.y + "%";
      tip.classList.toggle("before", mark.x > 50);
      here.hidden = tip.hidden = !shown;
    }
    choose(at, false);
    function nearest(event) {
      var box = plot.getBoundingClientRect();
      var best = 0;
      var distance = Infinity;
      marks.forEach(function (mark, i) {
        var x = mark.x * box.width / 100 - (event.clientX - box.left);
        var y = mark.y * box.height / 100 - (event.clientY - box.top);
        var d = x * x + y * y / 9;
        if (d < distance) {
          distance = d;
          best = i;
        }
      });
      choose(best, true);
    }
    cursor.addEventListener("pointermove", nearest);
    cursor.addEventListener("pointerdown", nearest);
    cursor.addEventListener("pointerleave", function () {
      if (document.activeElement !== cursor) hide();
    });
    cursor.addEventListener("focus", function () { choose(at, true); });
    cursor.addEventListener("blur", hide);
    cursor.addEventListener("keydown", function (event) {
      var to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, Home: 0, End: marks.length - 1 }[event.key];
      if (event.key === "Escape") hide();
      if (to === undefined) return;
      event.preventDefault();
      choose(to, true);
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
