/** Files that the user drops, pastes or saves. */

/**
 * Returns what a drop contains if there is a folder in it; else none, since its files are simply its files.
 *
 * @param {DataTransfer} transfer It is emptied by the browser at the first wait.
 * @returns {FileSystemEntry[]}
 */
export function entriesWithFolders(transfer) {
  const entries = [...transfer.items].flatMap((item) => item.webkitGetAsEntry() ?? []);
  return entries.some(({ isDirectory }) => isDirectory) ? entries : [];
}

/**
 * Returns the pictures and videos among files and in folders, by name.
 *
 * @param {FileSystemEntry[]} entries
 * @returns {Promise<File[]>}
 */
export async function mediaIn(entries) {
  const files = (await Promise.all(entries.map(filesIn))).flat();
  return files.filter(({ type }) => /^(image|video)\//.test(type));
}

/**
 * @param {FileSystemEntry} entry A file or a folder.
 * @returns {Promise<File[]>}
 */
async function filesIn(entry) {
  if (entry.isFile) {
    return [await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject))];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  /** @type {FileSystemEntry[]} */
  const entries = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (!some.length) break;
    entries.push(...some);
  }
  entries.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  return (await Promise.all(entries.map(filesIn))).flat();
}

/**
 * Lets the browser save a file.
 *
 * @param {Blob} content
 * @param {string} name
 */
export function saveFile(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // the browser has started to save it by then
}
